//! The store for real scale: PostgreSQL, shared by any number of ledger processes.

mod answers;
mod as_is;
mod audited;
mod copy;
mod invoices;
mod leases;
mod reset;
mod stalled;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use accounting::ChainHash;
use async_trait::async_trait;
use schemas::api::{KeyView, StatementEntry};
use schemas::event::KeyHash;
use schemas::{AccountId, EventId, Offset, PartitionId, Position, Timestamp, Usd};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool, query, query_as, query_scalar};
use uuid::Uuid;

use self::audited::PostgresSnapshot;
use super::read::{
    self, AccountRow, AmountRow, EntryRow, HeadRow, KeyViewRow, LastRecordRow, Money, PostedEventRow, PostedRow,
    QuarantinedRow, TagRow, signed,
};
use super::snapshot::{self, ListedRow, Snapshot, StoredQuarantine};
use super::{Commit, Fate, Head, Loaded, PostedEvent, Store, StoreError, StoredAccount};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

const CONNECTIONS: u32 = 16;

/// What the server knows our connections by.
const APPLICATION: &str = "modelhub-ledger";

/// How long a transaction may stand still between two statements. A process that stops in the middle of a commit (a
/// machine that sleeps, or is cut off) holds the row of its partition's position, and whoever takes the partition over
/// waits for that; so the server ends the transaction. In the middle
/// of a statement it does not: see [`stalled`].
const STANDSTILL: [(&str, &str); 1] = [("idle_in_transaction_session_timeout", "5s")];

/// An audit computes between two questions, and holds no row that anybody waits for.
const PATIENT: &str = "SET LOCAL idle_in_transaction_session_timeout = 0";

/// How long a command waits for a connection before it says that the store can't be reached.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// The indexes in log order are of ranges of pages: what was written last is in none yet, and without statistics the
/// planner would rather read whole tables.
const PREPARE_SNAPSHOT: [&str; 3] = [
    "SELECT brin_summarize_new_values('postings_in_log_order')",
    "SELECT brin_summarize_new_values('transfers_in_log_order')",
    "ANALYZE postings, transfers",
];

const ACCOUNTS: &str = "\
    SELECT account_id, partition_no, state FROM accounts
    WHERE account_id = ANY($1)";
const POSTED: &str = "SELECT event_id, fact_tag FROM postings WHERE event_id = ANY($1)";

/// The ledger's store in PostgreSQL. Has no `Debug`: it knows the password.
pub struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database` and brings its tables up to date; of several processes
    /// that start at once, one does that and the others wait.
    ///
    /// # Errors
    /// The server can't be reached or refuses, or a newer build made the tables.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let pool = Self::connect(url).await?;
        let failed = |error| StoreError::unavailable("bring its tables up to date", error);
        MIGRATIONS.run(&pool).await.map_err(failed)?;
        Ok(Self { pool })
    }

    async fn connect(url: &str) -> Result<PgPool, StoreError> {
        // What a parser says of a bad URL may quote it, and it holds a password.
        let options: PgConnectOptions = url.parse().map_err(|_| {
            StoreError::unavailable(
                "open its database",
                "`postgres.url` is not of the form postgres://user:password@host:port/database",
            )
        })?;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        let failed = |cause| StoreError::unavailable("open its database", format!("PostgreSQL at {place}: {cause}"));
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
        let options = options.application_name(APPLICATION).options(STANDSTILL);
        pool.connect_with(options).await.map_err(failed)
    }
}

async fn load_accounts(
    connection: &mut PgConnection,
    accounts: &BTreeSet<AccountId>,
) -> Result<BTreeMap<AccountId, StoredAccount>, StoreError> {
    let failed = |error| StoreError::unavailable("load accounts", error);
    let ids: Vec<Uuid> = accounts.iter().map(|id| id.0).collect();
    let accounts: Vec<AccountRow> = query_as(ACCOUNTS).bind(&ids).fetch_all(&mut *connection).await.map_err(failed)?;
    read::accounts(&accounts)
}

#[async_trait]
impl Store for PostgresStore {
    async fn head(&self, partition: PartitionId) -> Result<Head, StoreError> {
        let failed = |error| StoreError::unavailable("read its position", error);
        let row: Option<HeadRow> =
            query_as(read::HEAD).bind(i64::from(partition.0)).fetch_optional(&self.pool).await.map_err(failed)?;
        row.map_or(Ok(Head::START), HeadRow::read)
    }

    async fn last_record(&self, partition: PartitionId) -> Result<Option<(Offset, ChainHash)>, StoreError> {
        let failed = |error| StoreError::unavailable("read its position", error);
        let last = query_as(read::LAST_RECORD).bind(i64::from(partition.0));
        let row: Option<LastRecordRow> = last.fetch_optional(&self.pool).await.map_err(failed)?;
        row.map(LastRecordRow::read).transpose()
    }

    async fn log_partitions(&self, now: u32) -> Result<u32, StoreError> {
        let failed = |error| StoreError::unavailable("tell how many partitions its log has", error);
        query(read::SAY_PARTITIONS).bind(i64::from(now)).execute(&self.pool).await.map_err(failed)?;
        let said: i64 = query_scalar(read::PARTITIONS).fetch_one(&self.pool).await.map_err(failed)?;
        read::partitions(said)
    }

    async fn load(&self, accounts: &BTreeSet<AccountId>, events: &BTreeSet<EventId>) -> Result<Loaded, StoreError> {
        let failed = |error| StoreError::unavailable("load accounts", error);
        let mut snapshot = self.pool.begin_with(SNAPSHOT).await.map_err(failed)?;
        let accounts = load_accounts(&mut snapshot, accounts).await?;
        let ids: Vec<Uuid> = events.iter().map(|id| id.0).collect();
        let posted: Vec<TagRow> = query_as(POSTED).bind(&ids).fetch_all(&mut *snapshot).await.map_err(failed)?;
        snapshot.commit().await.map_err(failed)?;
        let posted = posted.into_iter().map(TagRow::read).collect::<Result<_, _>>()?;
        Ok(Loaded { accounts, posted })
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        write::commit(&self.pool, commit).await
    }

    async fn key(&self, hash: &KeyHash) -> Result<Option<KeyView>, StoreError> {
        let failed = |error| StoreError::unavailable("look up a key", error);
        let row: Option<KeyViewRow> =
            query_as(read::KEY).bind(&hash.0[..]).fetch_optional(&self.pool).await.map_err(failed)?;
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
        let rows: Vec<EntryRow> = entries.fetch_all(&self.pool).await.map_err(failed)?;
        rows.into_iter().map(EntryRow::read).collect()
    }

    async fn balance_at(&self, account: AccountId, at: Offset) -> Result<Usd, StoreError> {
        let failed = |error| StoreError::unavailable("read a balance", error);
        let balance = query_scalar(read::BALANCE_AT).bind(account.0).bind(signed(at));
        let balance: Option<Money> = balance.fetch_optional(&self.pool).await.map_err(failed)?;
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
        let rows: Vec<AmountRow> = amounts.fetch_all(&self.pool).await.map_err(failed)?;
        read::amounts(rows, to)
    }

    async fn fate(&self, event: EventId, position: Position) -> Result<Option<Fate>, StoreError> {
        let failed = |error| StoreError::unavailable("look up an event", error);
        let quarantined = query_as(read::QUARANTINED)
            .bind(i64::from(position.partition.0))
            .bind(signed(position.offset))
            .bind(event.0);
        let row: Option<QuarantinedRow> = quarantined.fetch_optional(&self.pool).await.map_err(failed)?;
        if let Some(row) = row {
            return Ok(Some(row.read()));
        }
        let posted: Option<PostedRow> =
            query_as(read::POSTED).bind(event.0).fetch_optional(&self.pool).await.map_err(failed)?;
        Ok(posted.map(PostedRow::read))
    }

    async fn posted(&self, event: EventId) -> Result<Option<PostedEvent>, StoreError> {
        let failed = |error| StoreError::unavailable("look up an event", error);
        let row: Option<PostedEventRow> =
            query_as(read::POSTED_EVENT).bind(event.0).fetch_optional(&self.pool).await.map_err(failed)?;
        row.map(PostedEventRow::read).transpose()
    }

    async fn due(&self, now: Timestamp, after: Option<AccountId>, limit: u32) -> Result<Vec<AccountId>, StoreError> {
        let failed = |error| StoreError::unavailable("look up what is due", error);
        let due = query_scalar(read::DUE).bind(now.as_micros()).bind(after.map(|id| id.0)).bind(i64::from(limit));
        let accounts: Vec<Uuid> = due.fetch_all(&self.pool).await.map_err(failed)?;
        Ok(accounts.into_iter().map(AccountId).collect())
    }

    async fn contact(&self, email: &str) -> Result<Option<AccountId>, StoreError> {
        let failed = |error| StoreError::unavailable("look up a contact", error);
        let account: Option<Uuid> =
            query_scalar(read::CONTACT).bind(email).fetch_optional(&self.pool).await.map_err(failed)?;
        Ok(account.map(AccountId))
    }

    async fn claim_contact(&self, email: &str, account: AccountId, at: Timestamp) -> Result<AccountId, StoreError> {
        let failed = |error| StoreError::unavailable("keep a contact", error);
        let claim = query(read::CLAIM_CONTACT).bind(email).bind(account.0).bind(at.as_micros());
        claim.execute(&self.pool).await.map_err(failed)?;
        let owner = self.contact(email).await?;
        owner.ok_or_else(|| StoreError::unavailable("keep a contact", "it was erased at the same time; try again"))
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        for statement in PREPARE_SNAPSHOT {
            query(statement).execute(&self.pool).await.map_err(snapshot::failed)?;
        }
        let mut transaction = self.pool.begin_with(SNAPSHOT).await.map_err(snapshot::failed)?;
        query(PATIENT).execute(&mut *transaction).await.map_err(snapshot::failed)?;
        // The moment is that of the first question.
        query(snapshot::HEADS).execute(&mut *transaction).await.map_err(snapshot::failed)?;
        Ok(Box::new(PostgresSnapshot::new(transaction)))
    }

    async fn reset(&self) -> Result<(), StoreError> {
        reset::reset(&self.pool).await
    }

    async fn quarantine(
        &self,
        after: Option<Position>,
        limit: u32,
    ) -> Result<Vec<(StoredQuarantine, Option<Position>)>, StoreError> {
        let failed = |error| StoreError::unavailable("list what is in quarantine", error);
        let (partition, offset) = after.map_or((-1, -1), |at| (i64::from(at.partition.0), signed(at.offset)));
        let list = query_as(snapshot::QUARANTINE).bind(partition).bind(offset).bind(i64::from(limit));
        let rows: Vec<ListedRow> = list.fetch_all(&self.pool).await.map_err(failed)?;
        rows.into_iter().map(ListedRow::read).collect()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let failed = |error| StoreError::unavailable("answer", error);
        query("SELECT 1").execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wrong_with_a_url_is_said_without_its_password() {
        let check = async |url: &str, expected: &str| {
            let Err(error) = PostgresStore::open(url).await else { panic!("opened {url}") };
            let text = error.to_string();
            assert!(text.starts_with("the ledger's store could not open its database: "), "{text}");
            assert!(text.contains(expected) && !text.contains("hunter2"), "{text}");
        };
        let form = "`postgres.url` is not of the form postgres://user:password@host:port/database";
        check("postgres://ann:hunter2@db:port/x", form).await;
        check("hunter2", form).await;
        check("postgres://ann:hunter2@127.0.0.1:1/x", "PostgreSQL at 127.0.0.1:1: ").await;
    }
}
