//! What every room of ModelHub agrees on: typed ids, exact money, the events of the log, the catalogue of plans and
//! models, configuration types and the messages that cross the gateway → ledger port.
//!
//! Architecture invariant: no I/O, no clock and no randomness live here. Time and ids come in as arguments.

#![forbid(unsafe_code)]

pub mod api;
pub mod catalogue;
pub mod config;
pub mod event;
pub mod ids;
pub mod json_schema;
pub mod log;
pub mod money;
pub mod month;
mod text;
pub mod timestamp;
pub mod usage;

pub use event::{Event, EventData};
pub use ids::{
    AccountId, AnswerId, DisputeId, EventId, GatewayId, KeyId, LeaseId, LotId, PaymentId, RequestId, RunId,
    SubscriptionId,
};
pub use log::{Offset, PartitionId, Position};
pub use money::{UnitPrice, Usd};
pub use month::Month;
pub use timestamp::Timestamp;
pub use usage::TokenCounts;
