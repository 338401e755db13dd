//! Everything that a store holds, as of one moment, for an audit: rows in log order, a part at a time.

mod adapter;
mod held;
mod rows;
mod statements;

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemas::{AccountId, Offset, PartitionId, Position};

pub(super) use self::adapter::snapshot;
pub use self::held::{
    AccountColumns, AccountRows, Counts, KeyColumns, LotColumns, Side, StoredPosting, StoredQuarantine, StoredTransfer,
    Sum, SumKey,
};
pub(super) use self::rows::{
    AccountRow, CountsRow, KeyRow, ListedRow, LotRow, PartitionHeadRow, PlaceRow, PostingRow, QuarantineRow,
    TransferRow, accounts, ids, postings,
};
pub(super) use self::statements::{
    ACCOUNTS, BEYOND, COUNTS, HEADS, KEYS, LOTS, POSTINGS, QUARANTINE, QUARANTINED, STRAYS, TRANSFERS,
};
use super::{Head, InvoiceRow, StoreError};

/// The table that a reset keeps, and the migration that made it.
pub(super) const KEPT: &str = "contacts";

/// One moment of a store. Nothing that is committed after it was taken is in it.
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

    /// Rows that belong to nothing: lots and keys of no account, transfers of no posting. One line for each of the first.
    async fn strays(&mut self) -> Result<Vec<String>, StoreError>;

    /// Postings, quarantined records and invoices that are not before their partition's position of record: their places.
    async fn beyond(&mut self) -> Result<Vec<Position>, StoreError>;
}

pub(super) fn failed(error: sqlx::Error) -> StoreError {
    StoreError::unavailable("be audited", error)
}
