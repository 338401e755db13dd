//! The ledger: folds the event log into balances, and answers for them.
//!
//! A batch of the log goes through [`LedgerSink`]: load the accounts it touches, fold it with the pure core, write all of
//! it in one transaction that also moves the position of record, and only then tell whoever listens ([`Feed`]).
//! [`Ledger`] answers questions and turns commands into events; [`http`] is the same on a private port.

#![forbid(unsafe_code)]

pub mod audit;
mod cache;
mod feed;
pub mod gateways;
pub mod http;
mod metrics;
mod outside;
pub mod quarantine;
#[cfg(test)]
mod rig;
mod service;
mod sink;
pub mod store;

pub use feed::{Applied, Feed};
pub use metrics::Metrics;
pub use outside::{Outside, System};
pub use service::{APPLY_TIMEOUT, LEASE_TTL, Ledger, LedgerError, Parts, Renewals, monthly, sweep_answers};
pub use sink::LedgerSink;
pub use store::{
    AnswerStore, ClaimTimes, InvoiceRow, InvoiceStore, LeaseStore, Leased, LeasedGateway, PostgresStore, Snapshot,
    SqliteStore, Store, StoreError, StoredQuarantine,
};
