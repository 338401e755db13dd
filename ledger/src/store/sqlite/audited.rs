//! An audit's view of the file.

use std::collections::{BTreeMap, BTreeSet};

use accounting::Commodity;
use rust_decimal::Decimal;
use schemas::money::USD_SCALE;
use schemas::{AccountId, EventId, Offset, PartitionId, Position, Usd};
use sqlx::{FromRow, Row as _, SqliteConnection, query, query_as};

use crate::store::invoices::{AUDITED, InvoiceColumns};
use crate::store::read::{POSTED_EVENT, PostedEventRow, signed, unreadable};
use crate::store::snapshot::{
    self, ACCOUNTS, AccountRow, AccountRows, BEYOND, COUNTS, Counts, CountsRow, HEADS, KEYS, KeyRow, LOTS, LotRow,
    POSTINGS, PartitionHeadRow, PlaceRow, PostingRow, QUARANTINED, QuarantineRow, STRAYS, Side, Snapshot,
    StoredPosting, StoredQuarantine, Sum, SumKey, TRANSFERS, TransferRow, Unreadable, failed, snapshot,
};
use crate::store::{Head, InvoiceRow, PostedEvent, StoreError};

/// A sum may need more than 64 bits, so it is two.
const SUMS: [(Side, &str); 2] = [
    (
        Side::Debit,
        "SELECT debit AS name, commodity, count(*) AS transfers, sum(amount / 1000000) AS high, \
         sum(amount % 1000000) AS low FROM transfers GROUP BY debit, commodity",
    ),
    (
        Side::Credit,
        "SELECT credit AS name, commodity, count(*) AS transfers, sum(amount / 1000000) AS high, \
         sum(amount % 1000000) AS low FROM transfers GROUP BY credit, commodity",
    ),
];

#[derive(FromRow)]
struct SumRow {
    name: String,
    commodity: String,
    transfers: i64,
    high: i64,
    low: i64,
}

snapshot!(SqliteSnapshot, sqlx::Sqlite, amount, sums);

/// Money is kept in 10⁻¹² USD, tokens are kept whole.
fn scale(commodity: &str) -> u32 {
    if commodity == Commodity::Usd.as_str() { USD_SCALE } else { 0 }
}

fn amount(commodity: &str, kept: Usd) -> Option<Decimal> {
    Decimal::try_from_i128_with_scale(kept.to_pico()?.into(), scale(commodity)).ok()
}

async fn sums(connection: &mut SqliteConnection) -> Result<BTreeMap<SumKey, Sum>, StoreError> {
    let mut sums = BTreeMap::new();
    for (side, statement) in SUMS {
        let rows: Vec<SumRow> = query_as(statement).fetch_all(&mut *connection).await.map_err(failed)?;
        for row in rows {
            let sum = i128::from(row.high) * 1_000_000 + i128::from(row.low);
            let total = Decimal::try_from_i128_with_scale(sum, scale(&row.commodity));
            let total = total.map_err(|error| unreadable("a sum of transfers", error))?;
            let transfers = row.transfers.cast_unsigned();
            sums.insert((side, row.name, row.commodity), Sum { transfers, total });
        }
    }
    Ok(sums)
}
