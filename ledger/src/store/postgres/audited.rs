//! An audit's view of the database.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use schemas::{AccountId, EventId, Offset, PartitionId, Position, Usd};
use sqlx::{FromRow, PgConnection, Row as _, query, query_as};

use crate::store::invoices::{AUDITED, InvoiceColumns};
use crate::store::read::{POSTED_EVENT, PostedEventRow, signed};
use crate::store::snapshot::{
    self, ACCOUNTS, AccountRow, AccountRows, BEYOND, COUNTS, Counts, CountsRow, HEADS, KEYS, KeyRow, LOTS, LotRow,
    POSTINGS, PartitionHeadRow, PlaceRow, PostingRow, QUARANTINED, QuarantineRow, STRAYS, Side, Snapshot,
    StoredPosting, StoredQuarantine, Sum, SumKey, TRANSFERS, TransferRow, Unreadable, failed, snapshot,
};
use crate::store::{Head, InvoiceRow, PostedEvent, StoreError};

const SUMS: [(Side, &str); 2] = [
    (
        Side::Debit,
        "SELECT debit AS name, commodity, count(*) AS transfers, sum(amount) AS total \
         FROM transfers GROUP BY debit, commodity",
    ),
    (
        Side::Credit,
        "SELECT credit AS name, commodity, count(*) AS transfers, sum(amount) AS total \
         FROM transfers GROUP BY credit, commodity",
    ),
];

#[derive(FromRow)]
struct SumRow {
    name: String,
    commodity: String,
    transfers: i64,
    total: Decimal,
}

snapshot!(PostgresSnapshot, sqlx::Postgres, amount, sums);

/// Every commodity is kept as it is counted.
#[expect(clippy::unnecessary_wraps, reason = "in the other adapter, not every amount that is kept is one")]
fn amount(_commodity: &str, kept: Usd) -> Option<Decimal> {
    Some(kept.as_decimal())
}

async fn sums(connection: &mut PgConnection) -> Result<BTreeMap<SumKey, Sum>, StoreError> {
    let mut sums = BTreeMap::new();
    for (side, statement) in SUMS {
        let rows: Vec<SumRow> = query_as(statement).fetch_all(&mut *connection).await.map_err(failed)?;
        for SumRow { name, commodity, transfers, total } in rows {
            sums.insert((side, name, commodity), Sum { transfers: transfers.cast_unsigned(), total });
        }
    }
    Ok(sums)
}
