//! Usage, as the dashboard shows it: facts at event grain and hourly rollups by account, key and model, folded from the
//! log. Nothing here decides a balance, and every store can be dropped and rebuilt from the log.
//!
//! [`UsageStore`] is the port; its adapters are [`SqliteStore`] and [`ClickHouseStore`]. [`ProjectorSink`] feeds either
//! from the log. Each event counts exactly once (I11): a store holds its own position of record and refuses any batch
//! that does not begin there.
//!
//! What counts here is what posts in the ledger, at what the ledger charged for it: [`Postings`] tells, so statistics and
//! statements agree to the last digit.

#![forbid(unsafe_code)]

mod audit;
mod fact;
mod sink;
mod store;

pub use audit::{UsageGroup, UsageMoment, UsageReplay, UsageSums};
pub use fact::{Fact, FactBatch, RequestFact, TokenChange};
pub use sink::{Postings, PostingsUnavailable, ProjectorSink};
pub use store::{ClickHouseStore, Grain, SqliteStore, StoreError, UsageStore};
