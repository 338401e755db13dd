//! What the whole-system tests stand on: the three engines, the SDKs of clients, and processes of ours.
//!
//! ```no_run
//! # async fn test() {
//! let postgres = tests::postgres::database().await;
//! let kafka = tests::kafka::cluster().await;
//! let clickhouse = tests::clickhouse::database().await;
//! println!("{} {} {}", postgres.url(), kafka.brokers(), clickhouse.url());
//! # }
//! ```
//!
//! An engine starts when the first test of a process asks for it, on a free loopback port and in a temporary folder,
//! and serves all tests of that process; each call gives a database, or a topic prefix, of its own. When the process
//! ends, however it ends, the engine is killed and its folder removed. Where `DATABASE_URL`, `KAFKA_BROKERS` or
//! `CLICKHOUSE_URL` is set, that server is used instead. `start()` of each engine gives a test an instance of its own,
//! to be killed and started again.
//!
//! Nothing here returns an error: these are tests' tools, so what goes wrong fails the test, with a line that says
//! what is missing and how to get it.
//!
//! `MODELHUB_TEST_PG_BIN` (a folder), `MODELHUB_TEST_JAVA`, `MODELHUB_TEST_MVN`, `MODELHUB_TEST_NPM`,
//! `MODELHUB_TEST_CLICKHOUSE`, `MODELHUB_TEST_PYTHON`, `MODELHUB_TEST_NODE`, `MODELHUB_TEST_CURL`,
//! `MODELHUB_TEST_OPENSSL`, `MODELHUB_TEST_DOCKER_COMPOSE` and `MODELHUB_TEST_NGINX` (programs) each name the only place
//! where that is looked for, `MODELHUB_TEST_CACHE` the folder that keeps what was downloaded. An empty
//! `MODELHUB_TEST_CLICKHOUSE` means that no installed server is used.

#![forbid(unsafe_code)]

pub mod clickhouse;
pub mod kafka;
pub mod postgres;
pub mod process;
pub mod proxies;
pub mod sdk;
pub mod tool;

mod announce;
mod cache;
mod failure;
mod lookup;
mod npm;
mod port;
mod temporary;
mod unique;
mod watchdog;

pub use port::port;

#[cfg(test)]
mod lifetime;
