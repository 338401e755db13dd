//! An audit's view of the database.

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

const SUMS: [(Side, &str); 2] = [
    (
        Side::Debit,
        "SELECT debit AS name, commodity, count(*) AS transfers, CAST(trunc(sum(amount) * 1000000) AS bigint) AS micro, \
         CAST((sum(amount) * 1000000 - trunc(sum(amount) * 1000000)) * 1000000 AS bigint) AS rest \
         FROM transfers GROUP BY debit, commodity",
    ),
    (
        Side::Credit,
        "SELECT credit AS name, commodity, count(*) AS transfers, CAST(trunc(sum(amount) * 1000000) AS bigint) AS micro, \
         CAST((sum(amount) * 1000000 - trunc(sum(amount) * 1000000)) * 1000000 AS bigint) AS rest \
         FROM transfers GROUP BY credit, commodity",
    ),
];

snapshot!(PostgresSnapshot, sqlx::Postgres, load_accounts, SUMS);
