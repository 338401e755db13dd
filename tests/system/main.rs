//! Whole-system tests, on real engines: one binary, so that each engine starts once.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what goes wrong here fails the test")]

mod audit;
mod billing;
mod books;
mod client;
mod compose;
mod conformance;
mod export;
mod gateways;
mod idempotency;
mod invoices;
mod key_limits;
mod kills;
mod limits;
mod metrics;
mod outcomes;
mod own_log;
mod proxy;
mod quarantine;
mod quote;
mod race;
mod readiness;
mod readme;
mod request_log;
mod request_shares;
mod scenario;
mod sdk;
mod spool;
mod system;
mod upstream;
