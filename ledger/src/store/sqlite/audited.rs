//! An audit's view of the file.

use std::collections::BTreeMap;

use schemas::{AccountId, Offset, PartitionId, Position, Usd};
use sqlx::query_as;

use super::load_accounts;
use crate::store::read::signed;
use crate::store::snapshot::{
    self, BALANCES, BEYOND, BalanceRow, COUNTS, Counts, CountsRow, HEADS, POSTINGS, PartitionHeadRow, PlaceRow,
    PostingRow, QUARANTINED, QuarantineRow, STRAYS, Side, Snapshot, StoredPosting, StoredQuarantine, Sum, SumKey,
    SumRow, TRANSFERS, TransferRow, failed, snapshot,
};
use crate::store::{Head, StoreError, StoredAccount};

/// A sum of counts of 10⁻¹² may need more than 64 bits, so it is two.
const SUMS: [(Side, &str); 2] = [
    (
        Side::Debit,
        "SELECT debit AS name, commodity, count(*) AS transfers, sum(amount / 1000000) AS micro, \
         sum(amount % 1000000) AS rest FROM transfers GROUP BY debit, commodity",
    ),
    (
        Side::Credit,
        "SELECT credit AS name, commodity, count(*) AS transfers, sum(amount / 1000000) AS micro, \
         sum(amount % 1000000) AS rest FROM transfers GROUP BY credit, commodity",
    ),
];

snapshot!(SqliteSnapshot, sqlx::Sqlite, load_accounts, SUMS);
