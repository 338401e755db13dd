//! What an audit is given, by what it means: each row as its table has it.

use std::collections::BTreeMap;

use accounting::FactTag;
use bytes::Bytes;
use rust_decimal::Decimal;
use schemas::api::EntryDetail;
use schemas::catalogue::PlanTerms;
use schemas::{AccountId, EventId, KeyId, LotId, Offset, Position, Timestamp, Usd};

use crate::store::StoredAccount;

/// An account: its state, and what is kept of it in columns and tables for questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRows {
    /// Whose row it is. The document in it may say another.
    pub id: AccountId,
    /// What the fold goes on from.
    pub account: StoredAccount,
    /// The columns beside it.
    pub columns: AccountColumns,
    /// Its rows of `lots`.
    pub lots: BTreeMap<LotId, LotColumns>,
    /// Its rows of `keys`.
    pub keys: BTreeMap<KeyId, KeyColumns>,
}

/// Columns of `accounts`, and the one of `renewals`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of `accounts` and `renewals`, as in `AccountState`")]
pub struct AccountColumns {
    pub status: String,
    pub plan: PlanTerms,
    pub opened_at: Timestamp,
    pub lots_opened: u64,
    pub debt: Usd,
    pub balance: Usd,
    pub version: Offset,
    pub due_at: Option<Timestamp>,
}

/// Columns of `lots`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of `lots`, as in `Lot`")]
pub struct LotColumns {
    pub source: String,
    pub amount: Usd,
    pub remaining: Usd,
    pub priority: i64,
    pub sequence: u64,
    pub expires_at: Option<Timestamp>,
}

/// Columns of `keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of `keys`, as in `Key`")]
pub struct KeyColumns {
    pub hash: Vec<u8>,
    pub name: String,
    pub hint: String,
}

/// A posted event with its transfers, as the tables have it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of `postings`, as in `PostingRow`")]
pub struct StoredPosting {
    pub event_id: EventId,
    pub account_id: AccountId,
    pub offset: Offset,
    pub event_type: String,
    pub time: Timestamp,
    pub amount: Usd,
    pub balance: Usd,
    pub detail: Option<EntryDetail>,
    /// Every build that keeps this schema writes one.
    pub chain_tag: Option<i64>,
    pub fact_tag: FactTag,
    pub transfers: Vec<StoredTransfer>,
}

/// A transfer, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of `transfers`, as in `Transfer`")]
pub struct StoredTransfer {
    pub index: u32,
    pub debit: String,
    pub credit: String,
    pub commodity: String,
    pub amount: Decimal,
    pub code: String,
    pub lot: Option<LotId>,
}

/// A quarantined record, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of `quarantine`, as in `QuarantineRow`")]
pub struct StoredQuarantine {
    pub position: Position,
    pub event_id: Option<EventId>,
    pub account_id: Option<AccountId>,
    pub reason: String,
    pub detail: String,
    pub record: Bytes,
}

/// A side of a ledger account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Where amounts arrive.
    Debit,
    /// Where they leave.
    Credit,
}

/// Whose sum it is: the side, the ledger account, the commodity.
pub type SumKey = (Side, String, String);

/// A sum of transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many.
    pub transfers: u64,
    /// How much of the commodity.
    pub total: Decimal,
}

/// How much was written of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events posted.
    pub postings: u64,
    /// Transfers of them.
    pub transfers: u64,
}

/// A row that means nothing to this build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    /// Where it is.
    pub table: &'static str,
    /// Its record's place, where it has one.
    pub position: Option<Position>,
    /// Whose it is, where that can be read.
    pub account: Option<AccountId>,
    /// What of it can't be read.
    pub why: String,
}
