//! Everything that a store holds, as of one moment, for an audit: rows in log order, a part at a time.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use rust_decimal::Decimal;
use schemas::api::EntryDetail;
use schemas::catalogue::PlanTerms;
use schemas::{AccountId, EventId, KeyId, LotId, Offset, PartitionId, Position, Timestamp, Usd};
use sqlx::FromRow;
use uuid::Uuid;

use super::read::{HeadRow, Money, json, offset, partition, unreadable};
use super::{Head, StoreError, StoredAccount};

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

    /// Accounts in the order of their ids, after `after`, at most `limit`, each with what is kept beside its state.
    async fn accounts(&mut self, after: Option<AccountId>, limit: u32) -> Result<Vec<AccountRows>, StoreError>;

    /// Sums of all transfers by side, ledger account and commodity, whatever postings say of them.
    async fn sums(&mut self) -> Result<BTreeMap<SumKey, Sum>, StoreError>;

    /// Postings and transfers of every account.
    async fn counts(&mut self) -> Result<BTreeMap<AccountId, Counts>, StoreError>;

    /// Rows that belong to nothing: lots and keys of no account, transfers of no posting. One line for each of the first.
    async fn strays(&mut self) -> Result<Vec<String>, StoreError>;

    /// Postings and quarantined records that are not before their partition's position of record: their places.
    async fn beyond(&mut self) -> Result<Vec<Position>, StoreError>;
}

/// An account: its state, and what is kept of it in columns and tables for questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRows {
    /// What the fold goes on from.
    pub account: StoredAccount,
    /// The columns beside it.
    pub columns: AccountColumns,
    /// Its rows of `lots`.
    pub lots: BTreeMap<LotId, LotColumns>,
    /// Its rows of `keys`.
    pub keys: BTreeMap<KeyId, KeyColumns>,
}

/// Columns of `accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of `accounts`, as in `AccountState`")]
pub struct AccountColumns {
    pub status: String,
    pub plan: PlanTerms,
    pub opened_at: Timestamp,
    pub lots_opened: u64,
    pub debt: Usd,
    pub balance: Usd,
    pub version: Offset,
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
    /// None in a row of a build that had no tags.
    pub chain_tag: Option<i64>,
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

pub(super) const HEADS: &str = "SELECT partition_no, next_offset, chain FROM positions";

pub(super) const POSTINGS: &str = "\
    SELECT event_id, account_id, log_offset, event_type, event_time, amount_usd, balance_usd,
        CAST(detail AS text) AS detail, chain_tag
    FROM postings WHERE partition_no = $1 AND log_offset >= $2 AND log_offset < $3 ORDER BY log_offset, event_id";

pub(super) const TRANSFERS: &str = "\
    SELECT event_id, CAST(idx AS bigint) AS idx, debit, credit, commodity, amount, code, lot_id
    FROM transfers WHERE partition_no = $1 AND log_offset >= $2 AND log_offset < $3 ORDER BY log_offset, idx";

pub(super) const QUARANTINED: &str = "\
    SELECT partition_no, log_offset, event_id, account_id, reason, detail, record
    FROM quarantine WHERE partition_no = $1 AND log_offset >= $2 AND log_offset < $3 ORDER BY log_offset";

pub(super) const ACCOUNTS: &str = "\
    SELECT account_id, status, CAST(plan AS text) AS plan, opened_at, lots_opened, debt_usd, balance_usd, version_offset
    FROM accounts WHERE $1 IS NULL OR account_id > $1 ORDER BY account_id LIMIT $2";

pub(super) const LOTS: &str = "\
    SELECT account_id, lot_id, source, amount_usd, remaining_usd, CAST(priority AS bigint) AS priority, sequence, expires_at
    FROM lots WHERE ($1 IS NULL OR account_id > $1) AND account_id <= $2";

pub(super) const KEYS: &str = "\
    SELECT account_id, key_id, hash, name, hint
    FROM keys WHERE ($1 IS NULL OR account_id > $1) AND account_id <= $2";

pub(super) const COUNTS: &str = "\
    SELECT p.account_id, CAST(count(DISTINCT p.event_id) AS bigint) AS postings,
        CAST(count(t.event_id) AS bigint) AS transfers
    FROM postings p LEFT JOIN transfers t ON t.partition_no = p.partition_no AND t.log_offset = p.log_offset
    GROUP BY p.account_id";

pub(super) const STRAYS: [(&str, &str); 3] = [
    (
        "a lot of no account",
        "SELECT l.lot_id AS id FROM lots l WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.account_id = l.account_id) LIMIT 10",
    ),
    (
        "a key of no account",
        "SELECT k.key_id AS id FROM keys k WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.account_id = k.account_id) LIMIT 10",
    ),
    (
        "a transfer of no posting",
        "SELECT t.event_id AS id FROM transfers t WHERE NOT EXISTS (SELECT 1 FROM postings p WHERE p.event_id = t.event_id) LIMIT 10",
    ),
];

pub(super) const BEYOND: &str = "\
    SELECT partition_no, log_offset FROM postings p WHERE NOT EXISTS (
        SELECT 1 FROM positions h WHERE h.partition_no = p.partition_no AND p.log_offset >= 0 AND p.log_offset < h.next_offset)
    UNION SELECT partition_no, log_offset FROM quarantine q WHERE NOT EXISTS (
        SELECT 1 FROM positions h WHERE h.partition_no = q.partition_no AND q.log_offset >= 0 AND q.log_offset < h.next_offset)
    LIMIT 10";

pub(super) const QUARANTINE: &str = "\
    SELECT q.partition_no, q.log_offset, q.event_id, q.account_id, q.reason, q.detail, q.record,
        p.partition_no AS posted_partition, p.log_offset AS posted_offset
    FROM quarantine q LEFT JOIN postings p ON p.event_id = q.event_id
    WHERE q.partition_no > $1 OR (q.partition_no = $1 AND q.log_offset > $2)
    ORDER BY q.partition_no, q.log_offset LIMIT $3";

/// The table that a reset keeps, and the migration that made it.
pub(super) const KEPT: &str = "contacts";

#[derive(FromRow)]
pub(super) struct PartitionHeadRow {
    partition_no: i64,
    #[sqlx(flatten)]
    head: HeadRow,
}

#[derive(FromRow)]
pub(super) struct PostingRow {
    event_id: Uuid,
    account_id: Uuid,
    log_offset: i64,
    event_type: String,
    event_time: i64,
    amount_usd: Money,
    balance_usd: Money,
    detail: Option<String>,
    chain_tag: Option<i64>,
}

#[derive(FromRow)]
pub(super) struct TransferRow {
    event_id: Uuid,
    idx: i64,
    debit: String,
    credit: String,
    commodity: String,
    amount: Money,
    code: String,
    lot_id: Option<Uuid>,
}

#[derive(FromRow)]
pub(super) struct QuarantineRow {
    partition_no: i64,
    log_offset: i64,
    event_id: Option<Uuid>,
    account_id: Option<Uuid>,
    reason: String,
    detail: String,
    record: Vec<u8>,
}

/// A row of `quarantine`, and where its event posted since.
#[derive(FromRow)]
pub(super) struct ListedRow {
    #[sqlx(flatten)]
    row: QuarantineRow,
    posted_partition: Option<i64>,
    posted_offset: Option<i64>,
}

#[derive(FromRow)]
pub(super) struct AccountRow {
    pub(super) account_id: Uuid,
    status: String,
    plan: String,
    opened_at: i64,
    lots_opened: i64,
    debt_usd: Money,
    balance_usd: Money,
    version_offset: i64,
}

#[derive(FromRow)]
pub(super) struct LotRow {
    account_id: Uuid,
    lot_id: Uuid,
    source: String,
    amount_usd: Money,
    remaining_usd: Money,
    priority: i64,
    sequence: i64,
    expires_at: Option<i64>,
}

#[derive(FromRow)]
pub(super) struct KeyRow {
    account_id: Uuid,
    key_id: Uuid,
    hash: Vec<u8>,
    name: String,
    hint: String,
}

#[derive(FromRow)]
pub(super) struct CountsRow {
    account_id: Uuid,
    postings: i64,
    transfers: i64,
}

#[derive(FromRow)]
pub(super) struct PlaceRow {
    partition_no: i64,
    log_offset: i64,
}

impl PartitionHeadRow {
    pub(super) fn read(self) -> Result<(PartitionId, Head), StoreError> {
        Ok((partition(self.partition_no)?, self.head.read()?))
    }
}

pub(super) fn postings(
    rows: Vec<PostingRow>,
    transfers: Vec<TransferRow>,
    amount: fn(&str, Usd) -> Option<Decimal>,
) -> Result<Vec<StoredPosting>, StoreError> {
    let mut by_event: BTreeMap<Uuid, Vec<StoredTransfer>> = BTreeMap::new();
    for row in transfers {
        by_event.entry(row.event_id).or_default().push(row.read(amount)?);
    }
    rows.into_iter()
        .map(|row| {
            let transfers = by_event.remove(&row.event_id).unwrap_or_default();
            row.read(transfers)
        })
        .collect()
}

impl PostingRow {
    fn read(self, transfers: Vec<StoredTransfer>) -> Result<StoredPosting, StoreError> {
        Ok(StoredPosting {
            event_id: EventId(self.event_id),
            account_id: AccountId(self.account_id),
            offset: offset(self.log_offset)?,
            event_type: self.event_type,
            time: Timestamp::from_micros(self.event_time),
            amount: self.amount_usd.0,
            balance: self.balance_usd.0,
            detail: self.detail.map(|detail| json("postings.detail", &detail)).transpose()?,
            chain_tag: self.chain_tag,
            transfers,
        })
    }
}

impl TransferRow {
    fn read(self, amount: fn(&str, Usd) -> Option<Decimal>) -> Result<StoredTransfer, StoreError> {
        let beyond = || unreadable("transfers.amount", format!("{} of {}", self.amount.0, self.commodity));
        let amount = amount(&self.commodity, self.amount.0).ok_or_else(beyond)?;
        Ok(StoredTransfer {
            index: u32::try_from(self.idx).map_err(|error| unreadable("transfers.idx", error))?,
            debit: self.debit,
            credit: self.credit,
            commodity: self.commodity,
            amount,
            code: self.code,
            lot: self.lot_id.map(LotId),
        })
    }
}

impl QuarantineRow {
    pub(super) fn read(self) -> Result<StoredQuarantine, StoreError> {
        Ok(StoredQuarantine {
            position: Position { partition: partition(self.partition_no)?, offset: offset(self.log_offset)? },
            event_id: self.event_id.map(EventId),
            account_id: self.account_id.map(AccountId),
            reason: self.reason,
            detail: self.detail,
            record: self.record.into(),
        })
    }
}

impl ListedRow {
    pub(super) fn read(self) -> Result<(StoredQuarantine, Option<Position>), StoreError> {
        let posted = match (self.posted_partition, self.posted_offset) {
            (Some(at), Some(offset_in)) => Some(Position { partition: partition(at)?, offset: offset(offset_in)? }),
            _ => None,
        };
        Ok((self.row.read()?, posted))
    }
}

impl AccountRow {
    fn read(&self) -> Result<AccountColumns, StoreError> {
        Ok(AccountColumns {
            status: self.status.clone(),
            plan: json("accounts.plan", &self.plan)?,
            opened_at: Timestamp::from_micros(self.opened_at),
            lots_opened: count("accounts.lots_opened", self.lots_opened)?,
            debt: self.debt_usd.0,
            balance: self.balance_usd.0,
            version: offset(self.version_offset)?,
        })
    }
}

impl LotRow {
    fn read(self) -> Result<LotColumns, StoreError> {
        Ok(LotColumns {
            source: self.source,
            amount: self.amount_usd.0,
            remaining: self.remaining_usd.0,
            priority: self.priority,
            sequence: count("lots.sequence", self.sequence)?,
            expires_at: self.expires_at.map(Timestamp::from_micros),
        })
    }
}

fn count(what: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|error| unreadable(what, error))
}

impl CountsRow {
    pub(super) fn read(&self) -> Result<(AccountId, Counts), StoreError> {
        let count = |value| count("a count", value);
        let counts = Counts { postings: count(self.postings)?, transfers: count(self.transfers)? };
        Ok((AccountId(self.account_id), counts))
    }
}

impl PlaceRow {
    /// A negative offset is no place in a log; the partition's begin is where to look.
    pub(super) fn read(&self) -> Result<Position, StoreError> {
        let offset = Offset(u64::try_from(self.log_offset).unwrap_or(0));
        Ok(Position { partition: partition(self.partition_no)?, offset })
    }
}

/// Puts a page of accounts together, in the order of `rows`.
pub(super) fn accounts(
    rows: &[AccountRow],
    mut states: BTreeMap<AccountId, StoredAccount>,
    lots: Vec<LotRow>,
    keys: Vec<KeyRow>,
) -> Result<Vec<AccountRows>, StoreError> {
    let mut lots_of: BTreeMap<Uuid, BTreeMap<LotId, LotColumns>> = BTreeMap::new();
    for row in lots {
        lots_of.entry(row.account_id).or_default().insert(LotId(row.lot_id), row.read()?);
    }
    let mut keys_of: BTreeMap<Uuid, BTreeMap<KeyId, KeyColumns>> = BTreeMap::new();
    for KeyRow { account_id, key_id, hash, name, hint } in keys {
        keys_of.entry(account_id).or_default().insert(KeyId(key_id), KeyColumns { hash, name, hint });
    }
    let lost = |id: Uuid| unreadable("accounts", format!("account {id} is gone within a snapshot"));
    let account = |row: &AccountRow| {
        Ok(AccountRows {
            account: states.remove(&AccountId(row.account_id)).ok_or_else(|| lost(row.account_id))?,
            columns: row.read()?,
            lots: lots_of.remove(&row.account_id).unwrap_or_default(),
            keys: keys_of.remove(&row.account_id).unwrap_or_default(),
        })
    };
    rows.iter().map(account).collect()
}

pub(super) fn ids(rows: &[AccountRow]) -> BTreeSet<AccountId> {
    rows.iter().map(|row| AccountId(row.account_id)).collect()
}

/// [`Snapshot`] on a transaction of either database. The statements are the same; how states are loaded, what an amount of
/// a commodity is, and how amounts are summed up are each one's own.
macro_rules! snapshot {
    ($snapshot:ident, $database:ty, $load:path, $amount:path, $sums:path) => {
        pub(super) struct $snapshot(pub(super) sqlx::Transaction<'static, $database>);

        #[async_trait::async_trait]
        impl Snapshot for $snapshot {
            async fn heads(&mut self) -> Result<BTreeMap<PartitionId, Head>, StoreError> {
                let rows: Vec<PartitionHeadRow> = query_as(HEADS).fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.into_iter().map(PartitionHeadRow::read).collect()
            }

            async fn postings(
                &mut self,
                partition: PartitionId,
                from: Offset,
                to: Offset,
            ) -> Result<Vec<StoredPosting>, StoreError> {
                let range =
                    |statement| query_as(statement).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let rows: Vec<PostingRow> = range(POSTINGS).fetch_all(&mut *self.0).await.map_err(failed)?;
                let range =
                    |statement| query_as(statement).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let transfers: Vec<TransferRow> = range(TRANSFERS).fetch_all(&mut *self.0).await.map_err(failed)?;
                snapshot::postings(rows, transfers, $amount)
            }

            async fn quarantined(
                &mut self,
                partition: PartitionId,
                from: Offset,
                to: Offset,
            ) -> Result<Vec<StoredQuarantine>, StoreError> {
                let rows = query_as(QUARANTINED).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
                let rows: Vec<QuarantineRow> = rows.fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.into_iter().map(QuarantineRow::read).collect()
            }

            async fn accounts(&mut self, after: Option<AccountId>, limit: u32) -> Result<Vec<AccountRows>, StoreError> {
                let after = after.map(|id| id.0);
                let page = query_as(ACCOUNTS).bind(after).bind(i64::from(limit));
                let rows: Vec<AccountRow> = page.fetch_all(&mut *self.0).await.map_err(failed)?;
                let last = rows.last().map(|row| row.account_id);
                let states = $load(&mut self.0, &snapshot::ids(&rows)).await?;
                let lots: Vec<LotRow> =
                    query_as(LOTS).bind(after).bind(last).fetch_all(&mut *self.0).await.map_err(failed)?;
                let keys: Vec<KeyRow> =
                    query_as(KEYS).bind(after).bind(last).fetch_all(&mut *self.0).await.map_err(failed)?;
                snapshot::accounts(&rows, states, lots, keys)
            }

            async fn sums(&mut self) -> Result<BTreeMap<SumKey, Sum>, StoreError> {
                $sums(&mut self.0).await
            }

            async fn counts(&mut self) -> Result<BTreeMap<AccountId, Counts>, StoreError> {
                let rows: Vec<CountsRow> = query_as(COUNTS).fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.iter().map(CountsRow::read).collect()
            }

            async fn strays(&mut self) -> Result<Vec<String>, StoreError> {
                let mut strays = Vec::new();
                for (what, statement) in STRAYS {
                    let ids: Vec<uuid::Uuid> =
                        sqlx::query_scalar(statement).fetch_all(&mut *self.0).await.map_err(failed)?;
                    strays.extend(ids.into_iter().map(|id| format!("{what}: {id}")));
                }
                Ok(strays)
            }

            async fn beyond(&mut self) -> Result<Vec<Position>, StoreError> {
                let rows: Vec<PlaceRow> = query_as(BEYOND).fetch_all(&mut *self.0).await.map_err(failed)?;
                rows.iter().map(PlaceRow::read).collect()
            }
        }
    };
}

pub(super) use snapshot;

pub(super) fn failed(error: sqlx::Error) -> StoreError {
    StoreError::unavailable("be audited", error)
}
