//! What the ledger asks of its database. Two adapters: [`sqlite`] for one process, [`postgres`] for any number.
//!
//! Everything here but the contacts and the answers kept for a repeat is a projection: drop it, fold the log again, and it is
//! the same to the last digit.

mod answers;
pub mod commit;
mod invoices;
mod leases;
pub mod postgres;
mod read;
mod reset;
mod schema;
pub mod snapshot;
pub mod sqlite;

use std::collections::{BTreeMap, BTreeSet};

use accounting::{AccountState, ChainHash, FactTag};
use async_trait::async_trait;
use schemas::api::{EntryDetail, KeyView, StatementEntry};
use schemas::event::{Funding, KeyHash, UsageCharge};
use schemas::{AccountId, EventId, Offset, PartitionId, Position, Timestamp, Usd};
use thiserror::Error;

pub use answers::{AnswerStore, ClaimTimes};
pub use commit::Commit;
pub use invoices::{InvoiceRow, InvoiceStore, Invoiced};
pub use leases::{
    AFTER_ALL, ChargeStore, Draw, LeaseStore, Leased, LeasedGateway, PlanCharge, Repeat, RepeatStore, SetAside,
    record_tag,
};
pub use postgres::PostgresStore;
pub use snapshot::{Snapshot, StoredQuarantine};
pub use sqlite::SqliteStore;

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Somebody else moved the position of record: nothing was written. Read again.
    #[error("the position of record has moved")]
    Moved,
    /// One of the events is posted already: nothing was written. Find out which, and leave them out.
    #[error("an event is posted already")]
    AlreadyPosted,
    /// The database can't be reached, refused, or holds what this build can't read.
    #[error("the ledger's store could not {doing}: {detail}")]
    Unavailable {
        /// What was tried.
        doing: &'static str,
        /// What the database said.
        detail: String,
    },
}

impl StoreError {
    pub(crate) fn unavailable(doing: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::Unavailable { doing, detail: cause.to_string() }
    }
}

/// The position of record of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The first offset that the store does not hold yet.
    pub next: Offset,
    /// The partition's chain up to there.
    pub chain: ChainHash,
}

impl Head {
    /// Before a partition's first record.
    pub const START: Self = Self { next: Offset(0), chain: ChainHash::GENESIS };
}

/// An account and the partition that its records are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    /// Where its records are.
    pub partition: PartitionId,
    /// What they made of it.
    pub state: AccountState,
}

/// What a fold needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Those of the accounts that exist.
    pub accounts: BTreeMap<AccountId, StoredAccount>,
    /// Those of the event ids that are posted, with the tags of their facts.
    pub posted: BTreeMap<EventId, FactTag>,
}

/// An event that is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedEvent {
    /// To which account.
    pub account: AccountId,
    /// Where its record is.
    pub position: Position,
    /// What the balance changed by.
    pub amount: Usd,
    /// The balance with it.
    pub balance: Usd,
    /// The statement's entry, where it concerns money or plan tokens.
    pub detail: Option<EntryDetail>,
}

impl PostedEvent {
    /// What was charged, where it is usage.
    pub fn usage_charge(&self) -> Option<UsageCharge> {
        let Some(EntryDetail::Usage { tokens, plan_tokens, .. }) = &self.detail else { return None };
        let funding = Funding { plan_tokens: *plan_tokens, credit_usd: self.amount.negated() };
        Some(UsageCharge { tokens: *tokens, funding })
    }
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is posted.
    Posted {
        /// To which account.
        account: AccountId,
        /// What the balance changed by.
        amount: Usd,
        /// The balance with it.
        balance: Usd,
    },
    /// Its record can't post.
    Quarantined {
        /// The stable name of why.
        reason: String,
        /// Why, in words.
        detail: String,
    },
}

/// The ledger's database.
///
/// Reads of the fold need no common snapshot with [`Store::commit`], and no repeating before each: whoever else changes a
/// partition's accounts moves its position too, and the commit's compare-and-swap fails.
#[async_trait]
pub trait Store: AnswerStore + ChargeStore + InvoiceStore + LeaseStore + RepeatStore + Send + Sync + 'static {
    /// The position of record of a partition; [`Head::START`] where nothing of it was committed.
    async fn head(&self, partition: PartitionId) -> Result<Head, StoreError>;

    /// The last record of a partition that is applied: its place, and the chain of nothing but that record. None where
    /// nothing of it was committed.
    async fn last_record(&self, partition: PartitionId) -> Result<Option<(Offset, ChainHash)>, StoreError>;

    /// How many partitions the log has that the store is folded from: `now`, where that was not said before.
    async fn log_partitions(&self, now: u32) -> Result<u32, StoreError>;

    /// Accounts and posted event ids, in one snapshot.
    async fn load(&self, accounts: &BTreeSet<AccountId>, events: &BTreeSet<EventId>) -> Result<Loaded, StoreError>;

    /// Writes what a batch led to and moves the position of record, in one transaction, or does nothing.
    ///
    /// # Errors
    /// [`StoreError::Moved`] where the position of record is not at `commit.from` with the chain `commit.from_chain` any
    /// more, [`StoreError::AlreadyPosted`] where one of the events is posted, whenever and by whichever partition (I5).
    async fn commit(&self, commit: &Commit) -> Result<(), StoreError>;

    /// The live key with this hash. Were there several, the one of the lowest account and key id.
    async fn key(&self, hash: &KeyHash) -> Result<Option<KeyView>, StoreError>;

    /// An account's postings that concern money, after `after`, in log order, at most `limit`.
    async fn entries(
        &self,
        account: AccountId,
        after: Option<Offset>,
        limit: u32,
    ) -> Result<Vec<StatementEntry>, StoreError>;

    /// An account's balance with everything up to and including `at`; zero before its first posting.
    async fn balance_at(&self, account: AccountId, at: Offset) -> Result<Usd, StoreError>;

    /// What each posted record of a partition from `from` to before `to` changed its account's balance by; `None` where the
    /// position of record is not at `to` yet.
    async fn amounts(
        &self,
        partition: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Option<BTreeMap<Offset, Usd>>, StoreError>;

    /// What became of an event that was appended at `position`; `None` while it is not applied. Where that record is in
    /// quarantine, this is told, whatever else its event id is posted as.
    async fn fate(&self, event: EventId, position: Position) -> Result<Option<Fate>, StoreError>;

    /// The event, where it is posted.
    async fn posted(&self, event: EventId) -> Result<Option<PostedEvent>, StoreError>;

    /// Accounts whose subscription's period is over at `now`, in the order of their ids, after `after`, at most `limit`.
    async fn due(&self, now: Timestamp, after: Option<AccountId>, limit: u32) -> Result<Vec<AccountId>, StoreError>;

    /// Whose e-mail this is. E-mails are compared as they are: the caller folds case.
    async fn contact(&self, email: &str) -> Result<Option<AccountId>, StoreError>;

    /// Gives an e-mail to `account` unless it has an account already, and returns the account that has it now: of
    /// concurrent calls exactly one wins. Durable on return.
    async fn claim_contact(&self, email: &str, account: AccountId, at: Timestamp) -> Result<AccountId, StoreError>;

    /// All that it holds, as of now, for an audit.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Drops everything but the contacts, the leases and the kept answers, which the log does not hold, and makes the tables
    /// anew: the position of record is the log's begin again. No lease is granted until it is where it was. Whatever moment
    /// it is cut short at, opening the store and calling it again is right.
    async fn reset(&self) -> Result<(), StoreError>;

    /// Quarantined records in log order, after `after`, at most `limit`, each with where its event posted since.
    async fn quarantine(
        &self,
        after: Option<Position>,
        limit: u32,
    ) -> Result<Vec<(StoredQuarantine, Option<Position>)>, StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what is running and closes every connection.
    async fn close(&self);
}
