//! The embedded store: an `SQLite` file.
//!
//! One connection writes, several read. The journal is a write-ahead log, synced at every commit: the projection could
//! do without, because its position falls back together with it and the log is the truth, but the contacts are nowhere
//! else, and one sync a batch is cheap.

mod answers;
mod as_is;
mod audited;
mod invoices;
mod leases;
mod reset;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use accounting::ChainHash;
use async_trait::async_trait;
use schemas::api::{KeyView, StatementEntry};
use schemas::event::KeyHash;
use schemas::{AccountId, EventId, Offset, PartitionId, Position, Timestamp, Usd};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqliteConnection, SqlitePool, query, query_as, query_scalar};
use uuid::Uuid;

use self::audited::SqliteSnapshot;
use super::read::{
    self, AccountRow, AmountRow, EntryRow, HeadRow, KeyViewRow, LastRecordRow, Money, PostedEventRow, PostedRow,
    QuarantinedRow, TagRow, signed,
};
use super::snapshot::{self, ListedRow, Snapshot, StoredQuarantine};
use super::{Commit, Fate, Head, Loaded, PostedEvent, Store, StoreError, StoredAccount};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const READERS: u32 = 4;

/// How long a writer of another process (a command on the data folder, say) is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

// Sets of ids go in as one JSON array of hexadecimal texts, so that a statement is the same whatever their number.
const ACCOUNTS: &str = "\
    SELECT account_id, partition_no, state FROM accounts
    WHERE account_id IN (SELECT unhex(value) FROM json_each($1))";
const POSTED: &str =
    "SELECT event_id, fact_tag FROM postings WHERE event_id IN (SELECT unhex(value) FROM json_each($1))";

/// The ledger's store in an `SQLite` file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it where it does not exist, and brings its tables up to date.
    ///
    /// # Errors
    /// The file can't be opened or written, or a newer build made it.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |cause: &dyn std::fmt::Display| {
            StoreError::unavailable("open its file", format!("{}: {cause}", path.display()))
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let writer = writer.connect_with(options.clone()).await.map_err(|error| failed(&error))?;
        MIGRATIONS.run(&writer).await.map_err(|error| failed(&error))?;
        let readers = SqlitePoolOptions::new().max_connections(READERS);
        let readers = readers.connect_with(options.read_only(true)).await.map_err(|error| failed(&error))?;
        Ok(Self { writer, readers })
    }
}

/// A JSON array of what `unhex` reads.
fn hex_array(ids: impl IntoIterator<Item = Uuid>) -> String {
    let ids: Vec<String> = ids.into_iter().map(|id| format!("\"{}\"", id.simple())).collect();
    format!("[{}]", ids.join(","))
}

async fn load_accounts(
    connection: &mut SqliteConnection,
    accounts: &BTreeSet<AccountId>,
) -> Result<BTreeMap<AccountId, StoredAccount>, StoreError> {
    let failed = |error| StoreError::unavailable("load accounts", error);
    let ids = hex_array(accounts.iter().map(|id| id.0));
    let accounts: Vec<AccountRow> = query_as(ACCOUNTS).bind(&ids).fetch_all(&mut *connection).await.map_err(failed)?;
    read::accounts(&accounts)
}

#[async_trait]
impl Store for SqliteStore {
    async fn head(&self, partition: PartitionId) -> Result<Head, StoreError> {
        let failed = |error| StoreError::unavailable("read its position", error);
        let row: Option<HeadRow> =
            query_as(read::HEAD).bind(i64::from(partition.0)).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map_or(Ok(Head::START), HeadRow::read)
    }

    async fn last_record(&self, partition: PartitionId) -> Result<Option<(Offset, ChainHash)>, StoreError> {
        let failed = |error| StoreError::unavailable("read its position", error);
        let last = query_as(read::LAST_RECORD).bind(i64::from(partition.0));
        let row: Option<LastRecordRow> = last.fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(LastRecordRow::read).transpose()
    }

    async fn log_partitions(&self, now: u32) -> Result<u32, StoreError> {
        let failed = |error| StoreError::unavailable("tell how many partitions its log has", error);
        query(read::SAY_PARTITIONS).bind(i64::from(now)).execute(&self.writer).await.map_err(failed)?;
        let said: i64 = query_scalar(read::PARTITIONS).fetch_one(&self.writer).await.map_err(failed)?;
        read::partitions(said)
    }

    async fn load(&self, accounts: &BTreeSet<AccountId>, events: &BTreeSet<EventId>) -> Result<Loaded, StoreError> {
        let failed = |error| StoreError::unavailable("load accounts", error);
        let mut snapshot = self.readers.begin().await.map_err(failed)?;
        let accounts = load_accounts(&mut snapshot, accounts).await?;
        let ids = hex_array(events.iter().map(|id| id.0));
        let posted: Vec<TagRow> = query_as(POSTED).bind(&ids).fetch_all(&mut *snapshot).await.map_err(failed)?;
        snapshot.commit().await.map_err(failed)?;
        let posted = posted.into_iter().map(TagRow::read).collect::<Result<_, _>>()?;
        Ok(Loaded { accounts, posted })
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        write::commit(&self.writer, commit).await
    }

    async fn key(&self, hash: &KeyHash) -> Result<Option<KeyView>, StoreError> {
        let failed = |error| StoreError::unavailable("look up a key", error);
        let row: Option<KeyViewRow> =
            query_as(read::KEY).bind(&hash.0[..]).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|row| row.read(*hash)).transpose()
    }

    async fn entries(
        &self,
        account: AccountId,
        after: Option<Offset>,
        limit: u32,
    ) -> Result<Vec<StatementEntry>, StoreError> {
        let failed = |error| StoreError::unavailable("read a statement", error);
        let entries = query_as(read::ENTRIES).bind(account.0).bind(after.map_or(-1, signed)).bind(i64::from(limit));
        let rows: Vec<EntryRow> = entries.fetch_all(&self.readers).await.map_err(failed)?;
        rows.into_iter().map(EntryRow::read).collect()
    }

    async fn balance_at(&self, account: AccountId, at: Offset) -> Result<Usd, StoreError> {
        let failed = |error| StoreError::unavailable("read a balance", error);
        let balance = query_scalar(read::BALANCE_AT).bind(account.0).bind(signed(at));
        let balance: Option<Money> = balance.fetch_optional(&self.readers).await.map_err(failed)?;
        Ok(balance.map_or(Usd::ZERO, |balance| balance.0))
    }

    async fn amounts(
        &self,
        partition: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Option<BTreeMap<Offset, Usd>>, StoreError> {
        let failed = |error| StoreError::unavailable("read amounts", error);
        let amounts = query_as(read::AMOUNTS).bind(i64::from(partition.0)).bind(signed(from)).bind(signed(to));
        let rows: Vec<AmountRow> = amounts.fetch_all(&self.readers).await.map_err(failed)?;
        read::amounts(rows, to)
    }

    async fn fate(&self, event: EventId, position: Position) -> Result<Option<Fate>, StoreError> {
        let failed = |error| StoreError::unavailable("look up an event", error);
        let quarantined = query_as(read::QUARANTINED)
            .bind(i64::from(position.partition.0))
            .bind(signed(position.offset))
            .bind(event.0);
        let row: Option<QuarantinedRow> = quarantined.fetch_optional(&self.readers).await.map_err(failed)?;
        if let Some(row) = row {
            return Ok(Some(row.read()));
        }
        let posted: Option<PostedRow> =
            query_as(read::POSTED).bind(event.0).fetch_optional(&self.readers).await.map_err(failed)?;
        Ok(posted.map(PostedRow::read))
    }

    async fn posted(&self, event: EventId) -> Result<Option<PostedEvent>, StoreError> {
        let failed = |error| StoreError::unavailable("look up an event", error);
        let row: Option<PostedEventRow> =
            query_as(read::POSTED_EVENT).bind(event.0).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(PostedEventRow::read).transpose()
    }

    async fn due(&self, now: Timestamp, after: Option<AccountId>, limit: u32) -> Result<Vec<AccountId>, StoreError> {
        let failed = |error| StoreError::unavailable("look up what is due", error);
        let due = query_scalar(read::DUE).bind(now.as_micros()).bind(after.map(|id| id.0)).bind(i64::from(limit));
        let accounts: Vec<Uuid> = due.fetch_all(&self.readers).await.map_err(failed)?;
        Ok(accounts.into_iter().map(AccountId).collect())
    }

    async fn contact(&self, email: &str) -> Result<Option<AccountId>, StoreError> {
        let failed = |error| StoreError::unavailable("look up a contact", error);
        let account: Option<Uuid> =
            query_scalar(read::CONTACT).bind(email).fetch_optional(&self.readers).await.map_err(failed)?;
        Ok(account.map(AccountId))
    }

    async fn claim_contact(&self, email: &str, account: AccountId, at: Timestamp) -> Result<AccountId, StoreError> {
        let failed = |error| StoreError::unavailable("keep a contact", error);
        let claim = query(read::CLAIM_CONTACT).bind(email).bind(account.0).bind(at.as_micros());
        claim.execute(&self.writer).await.map_err(failed)?;
        let owner = self.contact(email).await?;
        owner.ok_or_else(|| StoreError::unavailable("keep a contact", "it was erased at the same time; try again"))
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let mut transaction = self.readers.begin().await.map_err(snapshot::failed)?;
        // The moment is that of the first question.
        query(snapshot::HEADS).execute(&mut *transaction).await.map_err(snapshot::failed)?;
        Ok(Box::new(SqliteSnapshot::new(transaction)))
    }

    async fn reset(&self) -> Result<(), StoreError> {
        reset::reset(&self.writer).await
    }

    async fn quarantine(
        &self,
        after: Option<Position>,
        limit: u32,
    ) -> Result<Vec<(StoredQuarantine, Option<Position>)>, StoreError> {
        let failed = |error| StoreError::unavailable("list what is in quarantine", error);
        let (partition, offset) = after.map_or((-1, -1), |at| (i64::from(at.partition.0), signed(at.offset)));
        let list = query_as(snapshot::QUARANTINE).bind(partition).bind(offset).bind(i64::from(limit));
        let rows: Vec<ListedRow> = list.fetch_all(&self.readers).await.map_err(failed)?;
        rows.into_iter().map(ListedRow::read).collect()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let failed = |error| StoreError::unavailable("answer", error);
        query("SELECT 1").execute(&self.readers).await.map(drop).map_err(failed)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
