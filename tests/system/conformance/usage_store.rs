//! The projector's store: `SQLite` and `ClickHouse`.

mod crashes;
mod engine;
mod model;
mod once;
mod random;
mod requests;
mod reset;
mod statistics;
