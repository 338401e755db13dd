//! A store of its own for a test, and a second way into its database.

use std::sync::Arc;

use eventlog::{Batch, Sink, SinkError, StoredRecord, partition};
use ledger::store::Head;
use ledger::{Feed, LedgerSink, PostgresStore, SqliteStore, Store};
use schemas::{AccountId, Offset, PartitionId};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool, query_scalar};
use tempfile::TempDir;
use uuid::Uuid;

/// Partitions of the log that the tests' sinks believe in.
pub(super) const PARTITIONS: u32 = 64;

pub(super) struct Stage {
    pub(super) store: Arc<dyn Store>,
    database: Database,
}

enum Database {
    Sqlite { folder: TempDir, pool: SqlitePool },
    Postgres { database: tests::postgres::Database, pool: PgPool },
}

impl Stage {
    pub(super) async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger.db");
        let store = Arc::new(SqliteStore::open(&path).await.unwrap());
        let pool = SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
        Self { store, database: Database::Sqlite { folder, pool } }
    }

    pub(super) async fn postgres() -> Self {
        let database = tests::postgres::database().await;
        let store = Arc::new(PostgresStore::open(database.url()).await.unwrap());
        let pool = PgPool::connect(database.url()).await.unwrap();
        Self { store, database: Database::Postgres { database, pool } }
    }

    /// Where the database is, for another store on it.
    pub(super) fn url(&self) -> &str {
        match &self.database {
            Database::Sqlite { .. } => panic!("only PostgreSQL's database has one"),
            Database::Postgres { database, .. } => database.url(),
        }
    }

    /// Every table of the database, by name, but those that migrations and the engine keep for themselves.
    pub(super) async fn tables(&self) -> Vec<String> {
        let names = match &self.database {
            Database::Sqlite { pool, .. } => {
                let sql =
                    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
                query_scalar(sql).fetch_all(pool).await
            }
            Database::Postgres { pool, .. } => {
                let sql =
                    "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename";
                query_scalar(sql).fetch_all(pool).await
            }
        };
        let names: Vec<String> = names.unwrap();
        names.into_iter().filter(|name| name != "_sqlx_migrations").collect()
    }

    /// Runs a statement that is the same in both databases.
    pub(super) async fn run(&self, sql: &'static str) {
        match &self.database {
            Database::Sqlite { pool, .. } => drop(sqlx::query(sql).execute(pool).await.unwrap()),
            Database::Postgres { pool, .. } => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
    }

    /// What the database says to a statement that it refuses.
    pub(super) async fn refuses(&self, sql: &'static str) -> String {
        let done = match &self.database {
            Database::Sqlite { pool, .. } => sqlx::query(sql).execute(pool).await.map(drop),
            Database::Postgres { pool, .. } => sqlx::query(sql).execute(pool).await.map(drop),
        };
        done.expect_err(sql).to_string()
    }

    /// The same database through a store that was opened anew.
    pub(super) async fn reopened(mut self) -> Self {
        self.store.close().await;
        self.store = match &self.database {
            Database::Sqlite { folder, .. } => {
                Arc::new(SqliteStore::open(&folder.path().join("ledger.db")).await.unwrap())
            }
            Database::Postgres { database, .. } => Arc::new(PostgresStore::open(database.url()).await.unwrap()),
        };
        self
    }

    /// Gives the sink one batch that begins at the position of record, and returns that.
    pub(super) async fn apply(&self, partition: PartitionId, payloads: &[Vec<u8>]) -> Offset {
        self.apply_by(&self.sink(), partition, payloads).await
    }

    /// The same through a sink that may remember what it wrote.
    pub(super) async fn apply_by(&self, sink: &LedgerSink, partition: PartitionId, payloads: &[Vec<u8>]) -> Offset {
        let from = self.head(partition).await.next;
        sink.apply(batch(partition, from, payloads)).await.unwrap();
        from
    }

    pub(super) async fn try_apply(&self, batch: Batch) -> Result<(), SinkError> {
        self.sink().apply(batch).await
    }

    pub(super) fn sink(&self) -> LedgerSink {
        LedgerSink::new(Arc::clone(&self.store), Arc::new(Feed::default()), PARTITIONS)
    }

    pub(super) async fn head(&self, partition: PartitionId) -> Head {
        self.store.head(partition).await.unwrap()
    }

    /// One text a row. `{id:x}` is a column of ids, `{pico:x}` one of money, `{hex:x}` one of bytes.
    pub(super) async fn rows(&self, statement: &str) -> Vec<String> {
        match &self.database {
            Database::Sqlite { pool, .. } => {
                let dialect = [("id", "nullif(lower(hex(", ")), '')"), ("hex", "lower(hex(", "))"), ("pico", "(", ")")];
                query_scalar(AssertSqlSafe(spelled(statement, dialect))).fetch_all(pool).await.unwrap()
            }
            Database::Postgres { pool, .. } => {
                let dialect = [
                    ("id", "replace((", ")::text, '-', '')"),
                    ("hex", "encode(", ", 'hex')"),
                    ("pico", "((", ") * 1000000000000)::bigint"),
                ];
                query_scalar(AssertSqlSafe(spelled(statement, dialect))).fetch_all(pool).await.unwrap()
            }
        }
    }

    /// How many rows each table has; contacts and positions last.
    pub(super) async fn counts(&self) -> [i64; 8] {
        let mut counts = [0; 8];
        let tables = ["accounts", "lots", "keys", "postings", "transfers", "quarantine", "contacts", "positions"];
        for (count, table) in counts.iter_mut().zip(tables) {
            let rows = self.rows(&format!("SELECT CAST(count(*) AS text) FROM {table}")).await;
            *count = rows[0].parse().unwrap();
        }
        counts
    }
}

fn spelled(statement: &str, dialect: [(&str, &str, &str); 3]) -> String {
    let mut spelled = statement.to_owned();
    for (name, before, after) in dialect {
        let open = format!("{{{name}:");
        while let Some(start) = spelled.find(&open) {
            let end = start + spelled[start..].find('}').unwrap();
            let column = spelled[start + open.len()..end].to_owned();
            spelled.replace_range(start..=end, &format!("{before}{column}{after}"));
        }
    }
    spelled
}

pub(super) fn batch(partition: PartitionId, from: Offset, payloads: &[Vec<u8>]) -> Batch {
    let records: Vec<_> = (from.0..)
        .zip(payloads)
        .map(|(offset, payload)| StoredRecord { offset: Offset(offset), payload: payload.clone().into() })
        .collect();
    Batch { partition, from, next: Offset(from.0 + records.len() as u64), records }
}

/// The `n`th account whose records are in the partition.
pub(super) fn account_in(partition: PartitionId, n: usize) -> AccountId {
    let ids = (0..).map(|id| AccountId(Uuid::from_u128(id)));
    ids.filter(|id| partition::of(*id, PARTITIONS) == partition).nth(n).unwrap()
}
