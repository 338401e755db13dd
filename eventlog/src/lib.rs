//! The event log: the only source of truth. Records are appended, never changed, and ordered within a partition; a
//! record's partition follows from its key, so one account's events are totally ordered.
//!
//! [`EventLog`] is the port; its adapters are [`embedded`] (an `SQLite` file) and [`kafka`] (Apache Kafka). [`spool`] keeps
//! records durable on this machine until the log has them.

#![forbid(unsafe_code)]

mod batch;
pub mod embedded;
pub mod kafka;
pub mod partition;
mod port;
mod run;
pub mod spool;

pub use port::{
    AppendError, Batch, Bounds, EventLog, LogError, MAX_PAYLOAD_BYTES, Record, Sink, SinkError, StoredRecord,
};
