//! Questions and commands. A command appends events and returns when the ledger, in this process or another, has applied
//! them, so whoever gave it reads its own writes.

mod answers;
mod command;
mod commands;
mod contact;
mod invoices;
mod leases;
mod open;
mod outcome;
mod own_log;
mod plan_charge;
mod questions;
mod renewals;
mod repeats;
#[cfg(test)]
mod tests;

pub use self::answers::sweep_answers;
pub use self::invoices::monthly;
pub use self::leases::LEASE_TTL;

use std::sync::Arc;
use std::time::Duration;

use eventlog::EventLog;
use schemas::api::Refusal;
use schemas::catalogue::Catalogue;
use schemas::config::Secret;
use schemas::{AccountId, Offset, PartitionId, Position};
use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard};

use crate::feed::Feed;
use crate::outside::Outside;
use crate::store::{Store, StoreError};

pub use self::renewals::Renewals;

/// How long a command usually waits for its event to be applied.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands that may run at once; those on one account always take turns.
const LANES: usize = 64;

/// Why the ledger did not do what it was asked.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// It refused, and whoever asked can mend it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The event is in the log, for ever, but no ledger has applied it in time.
    #[error(
        "the event was appended at {position} but is not applied yet after {waited:?}: look whether a ledger runs over \
         that partition, and look at the account before you repeat the command"
    )]
    NotYetApplied {
        /// Where it is in the log.
        position: Position,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The store has applied what the log does not hold: it is another log's, or the log has lost records.
    #[error(
        "the ledger's store has applied partition {partition} up to {applied}, but the log ends at {end}: restore the log \
         that belongs to the store, or fold the store again from this one with `modelhub rebuild ledger`"
    )]
    AheadOfTheLog {
        /// The partition.
        partition: PartitionId,
        /// The store's position.
        applied: Offset,
        /// The log's end.
        end: Offset,
    },
    /// The log is not the one that the store was folded from, though it is as long.
    #[error(
        "the record at {position} is not the one that the ledger's store has applied there ({why}): this is another log, or \
         one that was restored without its last records and went on. Restore the log that belongs to the store, or fold the \
         store again from this one with `modelhub rebuild ledger`"
    )]
    AnotherLog {
        /// The last applied record.
        position: Position,
        /// What the log has there.
        why: String,
    },
    /// The log has another number of partitions than the one that the store was folded from.
    #[error(
        "the log has {now} partitions, and had {before} when the ledger's store was first folded from it: which partition an \
         account's events are in depends on that number, so it can't be changed. Use a log with {before} partitions that \
         holds the same records; to have another number, append all events to a new log of that many, in their order, and \
         fold the store again from it with `modelhub rebuild ledger`"
    )]
    OtherPartitions {
        /// Of the log.
        now: u32,
        /// Of the store.
        before: u32,
    },
    /// The store or the log can't be reached or refused.
    #[error("{0}")]
    Unavailable(String),
}

impl LedgerError {
    /// Whether it says that the log is not the store's: nothing but another log or another store helps.
    pub fn is_of_the_log(&self) -> bool {
        matches!(self, Self::AheadOfTheLog { .. } | Self::AnotherLog { .. } | Self::OtherPartitions { .. })
    }
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What a [`Ledger`] is made of.
pub struct Parts {
    /// The ledger's database.
    pub store: Arc<dyn Store>,
    /// Where commands append.
    pub log: Arc<dyn EventLog>,
    /// Tells what the sink of this process has applied; one that never tells is fine where the sink runs elsewhere.
    pub feed: Arc<Feed>,
    /// Plans on sale.
    pub catalogue: Catalogue,
    /// Under which keys are hashed.
    pub pepper: Secret,
    /// Time and randomness.
    pub outside: Arc<dyn Outside>,
    /// How long a command waits for its event to be applied; [`APPLY_TIMEOUT`] but for a reason.
    pub apply_timeout: Duration,
    /// For how long a gateway may admit requests on a lease that it can't renew.
    pub lease_ttl: Duration,
}

/// The ledger's service. Has no `Debug`: it holds the pepper.
pub struct Ledger {
    parts: Parts,
    lanes: [Mutex<()>; LANES],
    /// Payments take turns: no two accounts are given the same one at the same time.
    payments: Mutex<()>,
}

impl Ledger {
    /// Puts a service together.
    pub fn new(parts: Parts) -> Self {
        Self { parts, lanes: std::array::from_fn(|_| Mutex::new(())), payments: Mutex::new(()) }
    }

    /// Whether the store answers, and knows all that accounts have, so that it may grant leases.
    pub async fn ready(&self) -> Result<(), LedgerError> {
        self.parts.store.ping().await?;
        match self.parts.store.refolding().await? {
            None => Ok(()),
            Some(partition) => Err(LedgerError::Unavailable(format!(
                "its store is being folded again, partition {partition} is not there yet, and nothing is granted on \
                 accounts in it until it is"
            ))),
        }
    }

    /// Makes commands on one account take turns in this process, so that a limit which is looked at first is not
    /// overrun. Ledgers of several processes can overrun it by one key each.
    async fn turn(&self, account: AccountId) -> MutexGuard<'_, ()> {
        let lane = usize::try_from(account.0.as_u128() % LANES as u128).unwrap_or(0);
        self.lanes[lane].lock().await
    }
}
