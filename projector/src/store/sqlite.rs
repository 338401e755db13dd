//! Usage in an `SQLite` file. A batch is one transaction: facts, rollups and position together.

mod as_is;
mod moment;
mod rollup;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use schemas::api::{Bucket, GroupBy, UsageQuery, UsageRow, UsageTotals};
use schemas::{Offset, PartitionId};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use self::rollup::Rollup;
use super::{CORRECTED, StoreError, Sums, UsageStore, hours, row};
use crate::{Fact, FactBatch, UsageMoment};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Found in the schema, so that a table of a later migration can't be forgotten.
const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> '_sqlx_migrations' \
                      AND name NOT LIKE 'sqlite%'";

const CONNECTIONS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Rows of one statement; with a fact's 19 columns well below `SQLite`'s 32,766 bound values.
const ROWS_PER_STATEMENT: usize = 500;

/// The sums of rollups, in the order of [`sums`]. A sum beyond 64 bits is an error of `SQLite`'s, never a float.
const SUMS_OF_HOURS: &str = "sum(requests), sum(prompt_tokens), sum(cached_prompt_tokens), sum(completion_tokens), \
                             sum(reasoning_tokens), sum(cost_micro), sum(cost_rest)";
/// Usage in an `SQLite` file.
pub struct SqliteStore {
    pool: SqlitePool,
    name: String,
}

impl SqliteStore {
    /// Opens the file at `path`, making it and its tables where they are missing. Its folder must exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the file can't be opened or was written by a newer build.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let name = path.display().to_string();
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("the usage store {name} could not be {what}: {error}"))
        };
        // What a power cut takes goes as whole transactions, position included, and is read from the log again: syncing
        // at checkpoints is enough.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await
            .map_err(|error| failed("opened", &error))?;
        MIGRATIONS.run(&pool).await.map_err(|error| failed("brought up to date", &error))?;
        Ok(Self { pool, name })
    }

    fn failed(&self, error: &sqlx::Error) -> StoreError {
        StoreError::Unavailable(format!("the usage store {}: {error}", self.name))
    }

    async fn try_insert(&self, batch: &FactBatch) -> Result<bool, sqlx::Error> {
        // A transaction that only becomes a writer after its read fails where another has written in between.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if position(&mut transaction, batch.partition).await? != batch.from {
            return Ok(false);
        }
        let mut rollup = Rollup::default();
        for facts in batch.facts.chunks(ROWS_PER_STATEMENT) {
            let counted = insert_facts(&mut transaction, batch.partition, facts).await?;
            for fact in facts {
                if counted.contains(&integer(fact.offset.0)?) {
                    rollup.add(fact)?;
                }
            }
        }
        rollup.write(&mut transaction).await?;
        sqlx::query(
            "INSERT INTO positions (log_partition, next_offset) VALUES (?, ?)
             ON CONFLICT (log_partition) DO UPDATE SET next_offset = excluded.next_offset",
        )
        .bind(batch.partition.0)
        .bind(integer(batch.next.0)?)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn try_stats(&self, query: &UsageQuery) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let bucket = match query.bucket {
            Bucket::None => "0",
            Bucket::Hour => "hour",
            // The remainder of a time before the epoch is negative.
            Bucket::Day => "hour - (hour % 86400000000 + 86400000000) % 86400000000",
        };
        let group = match query.group_by {
            GroupBy::None => "''",
            GroupBy::Model => "model",
            GroupBy::Key => "key_id",
        };
        let sql = format!(
            "SELECT {SUMS_OF_HOURS}, {bucket} AS bucket, {group} AS name FROM usage_hours
             WHERE account_id = ? AND hour >= ? AND hour < ? GROUP BY bucket, name ORDER BY bucket, name"
        );
        let (from, to) = hours(query);
        sqlx::query(AssertSqlSafe(sql)).bind(query.account_id.0).bind(from).bind(to).fetch_all(&self.pool).await
    }

    fn usage_row(&self, query: &UsageQuery, found: &SqliteRow) -> Result<UsageRow, StoreError> {
        let bucket = found.try_get("bucket").map_err(|error| self.failed(&error))?;
        let group = match query.group_by {
            GroupBy::Key => found.try_get::<Uuid, _>("name").map(|key| key.to_string()),
            GroupBy::Model | GroupBy::None => found.try_get("name"),
        };
        let group = group.map_err(|error| self.failed(&error))?;
        row(query, bucket, group, &sums(found).map_err(|error| self.failed(&error))?)
    }
}

#[async_trait]
impl UsageStore for SqliteStore {
    async fn position(&self, partition: PartitionId) -> Result<Offset, StoreError> {
        let held = async { position(&mut *self.pool.acquire().await?, partition).await };
        held.await.map_err(|error| self.failed(&error))
    }

    async fn insert(&self, batch: FactBatch) -> Result<(), StoreError> {
        match self.try_insert(&batch).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Moved),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn stats(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let found = self.try_stats(query).await.map_err(|error| self.failed(&error))?;
        if found.is_empty() && query.bucket == Bucket::None && query.group_by == GroupBy::None {
            return Ok(vec![UsageRow { bucket: None, group: None, totals: UsageTotals::default() }]);
        }
        found.iter().map(|found| self.usage_row(query, found)).collect()
    }

    async fn reset(&self) -> Result<(), StoreError> {
        let tables: Result<Vec<String>, _> = sqlx::query_scalar(TABLES).fetch_all(&self.pool).await;
        let tables = tables.map_err(|error| self.failed(&error))?;
        let dropped = async {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            for table in tables {
                sqlx::query(AssertSqlSafe(format!("DROP TABLE {table}"))).execute(&mut *transaction).await?;
            }
            sqlx::query("DELETE FROM _sqlx_migrations").execute(&mut *transaction).await?;
            transaction.commit().await
        };
        dropped.await.map_err(|error| self.failed(&error))?;
        // Who opens the store after a crash right here does the same.
        let made = MIGRATIONS.run(&self.pool).await;
        made.map_err(|error| StoreError::Unavailable(format!("the usage store {}: {error}", self.name)))
    }

    async fn moment(&self) -> Result<UsageMoment, StoreError> {
        moment::read(&self.pool).await.map_err(|error| self.failed(&error))?
    }
}

async fn position(connection: &mut SqliteConnection, partition: PartitionId) -> Result<Offset, sqlx::Error> {
    let held: Option<i64> = sqlx::query_scalar("SELECT next_offset FROM positions WHERE log_partition = ?")
        .bind(partition.0)
        .fetch_optional(connection)
        .await?;
    count(held.unwrap_or_default()).map(Offset)
}

/// The offsets of those facts whose event was not in the table yet.
async fn insert_facts(
    connection: &mut SqliteConnection,
    partition: PartitionId,
    facts: &[Fact],
) -> Result<BTreeSet<i64>, sqlx::Error> {
    let mut rows = Vec::with_capacity(facts.len());
    for fact in facts {
        let duration_ms = integer(fact.request.as_ref().map_or(0, |request| request.duration_ms))?;
        rows.push((fact, integer(fact.offset.0)?, integer(fact.requests())?, pico(fact)?, duration_ms));
    }
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO usage_facts (log_partition, log_offset, event_id, account_id, key_id, model, upstream, stream, \
         outcome, accuracy, requests, prompt_tokens, cached_prompt_tokens, completion_tokens, reasoning_tokens, \
         cost_pico, started_at, ended_at, duration_ms) ",
    );
    insert.push_values(rows, |mut row, (fact, offset, requests, cost_pico, duration_ms)| {
        let request = fact.request.as_ref();
        row.push_bind(partition.0).push_bind(offset);
        row.push_bind(fact.event_id.0).push_bind(fact.account_id.0).push_bind(fact.key_id.0);
        row.push_bind(fact.model.clone());
        row.push_bind(request.map_or_else(String::new, |request| request.upstream.clone()));
        row.push_bind(request.is_some_and(|request| request.stream));
        row.push_bind(request.map_or(CORRECTED, |request| request.outcome.as_str()));
        row.push_bind(request.map_or("", |request| request.accuracy.as_str()));
        row.push_bind(requests);
        row.push_bind(fact.tokens.prompt).push_bind(fact.tokens.cached_prompt);
        row.push_bind(fact.tokens.completion).push_bind(fact.tokens.reasoning);
        row.push_bind(cost_pico);
        row.push_bind(request.map_or(fact.time, |request| request.started_at).as_micros());
        row.push_bind(fact.time.as_micros()).push_bind(duration_ms);
    });
    insert.push(" ON CONFLICT (log_partition, event_id) DO NOTHING RETURNING log_offset");
    Ok(insert.build_query_scalar().fetch_all(connection).await?.into_iter().collect())
}

fn sums(found: &SqliteRow) -> Result<Sums, sqlx::Error> {
    let number = |column: usize| found.try_get::<i64, _>(column);
    Ok(Sums {
        requests: count(number(0)?)?,
        prompt: number(1)?,
        cached_prompt: number(2)?,
        completion: number(3)?,
        reasoning: number(4)?,
        cost_pico: i128::from(number(5)?) * 1_000_000 + i128::from(number(6)?),
    })
}

fn integer(count: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(count).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn count(integer: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(integer).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn pico(fact: &Fact) -> Result<i64, sqlx::Error> {
    let beyond = || sqlx::Error::Encode(format!("a charge of {} USD is out of range", fact.charged).into());
    fact.charged.to_pico().ok_or_else(beyond)
}
