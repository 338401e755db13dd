//! Everything that a store holds, as of one moment, for an audit: rows in log order, a part at a time.

mod adapter;
mod held;
mod rows;
mod statements;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use schemas::{AccountId, EventId, Offset, PartitionId, Position};

pub(super) use self::adapter::snapshot;
pub use self::held::{
    AccountColumns, AccountRows, Counts, KeyColumns, LotColumns, Side, StoredPosting, StoredQuarantine, StoredTransfer,
    Sum, SumKey, Unreadable,
};
pub(super) use self::rows::{
    AccountRow, CountsRow, KeyRow, ListedRow, LotRow, PartitionHeadRow, PlaceRow, PostingRow, QuarantineRow,
    TransferRow, accounts, follows, postings,
};
pub(super) use self::statements::{
    ACCOUNTS, BEYOND, COUNTS, HEADS, KEYS, LOTS, POSTINGS, QUARANTINE, QUARANTINED, STRAYS, TRANSFERS,
};
use super::{Head, InvoiceRow, PostedEvent, StoreError};

/// The migrations whose tables a reset keeps, and those tables: the log does not hold what is in them.
pub(super) const KEPT: [(&str, &[&str]); 6] = [
    ("answers", &["answers"]),
    ("contacts", &["contacts"]),
    ("leases", &["leases", "funds", "lease_floors"]),
    ("repeats", &["repeated_charges", "gateway_runs"]),
    ("reservations", &["plan_charges"]),
    ("shares", &["request_shares"]),
];

/// The tables that the log can give again. Whatever else is in the database is somebody's, and no business of a reset.
pub(super) const PROJECTED: [&str; 10] =
    ["accounts", "invoices", "keys", "log", "lots", "positions", "postings", "quarantine", "renewals", "transfers"];

/// One moment of a store. Nothing that is committed after it was taken is in it.
///
/// A row that can't be read is left out of the answers and told by [`unreadable`](Self::unreadable): an audit that stops
/// at the first one says nothing of all the others.
#[async_trait]
pub trait Snapshot: Send {
    /// The position of record of every partition that has one.
    async fn heads(&mut self) -> Result<BTreeMap<PartitionId, Head>, StoreError>;

    /// Postings of a partition's records from `from` to before `to`, in log order.
    async fn postings(
        &mut self,
        partition: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<StoredPosting>, StoreError>;

    /// The event, where it is posted.
    async fn posted(&mut self, event: EventId) -> Result<Option<PostedEvent>, StoreError>;

    /// Quarantined records, likewise.
    async fn quarantined(
        &mut self,
        partition: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<StoredQuarantine>, StoreError>;

    /// Invoices that a partition's records issued, likewise.
    async fn invoices(
        &mut self,
        partition: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<InvoiceRow>, StoreError>;

    /// Accounts in the order of their ids, after `after`, at most `limit`, each with what is kept beside its state.
    async fn accounts(&mut self, after: Option<AccountId>, limit: u32) -> Result<Vec<AccountRows>, StoreError>;

    /// Sums of all transfers by side, ledger account and commodity, whatever postings say of them.
    async fn sums(&mut self) -> Result<BTreeMap<SumKey, Sum>, StoreError>;

    /// Postings and transfers of every account.
    async fn counts(&mut self) -> Result<BTreeMap<AccountId, Counts>, StoreError>;

    /// Rows that belong to nothing: lots, keys and renewals of no account, transfers of no posting. One line for each of the first.
    async fn strays(&mut self) -> Result<Vec<String>, StoreError>;

    /// Postings, quarantined records and invoices that are not before their partition's position of record: their places.
    async fn beyond(&mut self) -> Result<Vec<Position>, StoreError>;

    /// The rows that were met so far and can't be read.
    fn unreadable(&self) -> &BTreeSet<Unreadable>;
}

/// Those of what was read that mean something; the others are noted.
pub(super) fn keep<T>(
    read: impl IntoIterator<Item = Result<T, Unreadable>>,
    noted: &mut BTreeSet<Unreadable>,
) -> Vec<T> {
    let keep = |read: Result<T, Unreadable>| read.map_err(|unreadable| noted.insert(unreadable)).ok();
    read.into_iter().filter_map(keep).collect()
}

pub(super) fn failed(error: sqlx::Error) -> StoreError {
    StoreError::unavailable("be audited", error)
}
