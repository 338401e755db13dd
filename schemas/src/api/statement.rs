//! Statements: every posting of an account, in log order, with a running balance.

use serde::{Deserialize, Serialize};

use super::EntryDetail;
use crate::{AccountId, EventId, Offset, Timestamp, Usd};

/// Which part of a statement is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementQuery {
    /// Whose.
    pub account_id: AccountId,
    /// Only entries after this offset of the account's partition: the `next` of the page before.
    #[serde(default)]
    pub after: Option<Offset>,
    /// Only from the first entry on that happened at this time or later.
    #[serde(default)]
    pub from: Option<Timestamp>,
    /// Only up to the entry before the first one, of those, that happened at this time or later. Entries stand in the
    /// order of the log, so what arrives late belongs to the time of its arrival, and balances add up.
    #[serde(default)]
    pub to: Option<Timestamp>,
    /// The most entries wanted in one page.
    pub limit: u32,
}

/// One page of a statement, oldest entry first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Whose.
    pub account_id: AccountId,
    /// The balance before the first entry of this page.
    pub opening_usd: Usd,
    /// The balance after the last entry of this page.
    pub closing_usd: Usd,
    /// The entries; each one's `balance_usd` is the one before it plus its `amount_usd`.
    pub entries: Vec<StatementEntry>,
    /// What to ask for as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Offset>,
}

/// One event that moved an account's balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementEntry {
    /// The event.
    pub event_id: EventId,
    /// Its place in the account's partition.
    pub offset: Offset,
    /// When it happened.
    pub time: Timestamp,
    /// What the balance changed by.
    pub amount_usd: Usd,
    /// The balance with it.
    pub balance_usd: Usd,
    /// What it was.
    pub detail: EntryDetail,
}
