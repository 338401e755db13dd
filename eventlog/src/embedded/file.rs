//! The file: its schema, and reading from it.

use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use schemas::{Offset, PartitionId};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, Row as _, SqliteConnection};

use crate::batch::Filling;
use crate::run::ReadError;
use crate::{Batch, Bounds};

/// A table with a rowid keeps the records in the order of their arrival whatever their partition, so that a commit
/// dirties the end of one tree; records of a kilobyte would need overflow pages in a table without.
const SCHEMA: &str = r#"
    CREATE TABLE IF NOT EXISTS log (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        partitions INTEGER NOT NULL CHECK (partitions > 0)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS records (
        partition INTEGER NOT NULL CHECK (partition >= 0),
        "offset" INTEGER NOT NULL CHECK ("offset" >= 0),
        key BLOB NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (partition, "offset")
    ) STRICT;
"#;

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging()
}

/// Creates what is not there yet, and tells how many partitions the log has.
pub(super) async fn create(options: &SqliteConnectOptions, partitions: u32) -> Result<u32, sqlx::Error> {
    let mut conn = SqliteConnection::connect_with(options).await?;
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    tx.execute(SCHEMA).await?;
    sqlx::query("INSERT INTO log (one, partitions) VALUES (1, ?) ON CONFLICT DO NOTHING")
        .bind(partitions.max(1))
        .execute(&mut *tx)
        .await?;
    let partitions = sqlx::query_scalar("SELECT partitions FROM log").fetch_one(&mut *tx).await?;
    tx.commit().await?;
    conn.close().await?;
    Ok(partitions)
}

/// The offset that the partition's next record gets.
pub(super) async fn end(conn: &mut SqliteConnection, partition: PartitionId) -> Result<Offset, sqlx::Error> {
    let end: i64 = sqlx::query_scalar(r#"SELECT COALESCE(MAX("offset") + 1, 0) FROM records WHERE partition = ?"#)
        .bind(partition.0)
        .fetch_one(conn)
        .await?;
    Ok(Offset(end.cast_unsigned()))
}

/// An offset as the file holds it. One beyond what the file can hold finds nothing, as it should.
fn column(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

/// Reads from the file.
#[derive(Clone)]
pub(super) struct Reader {
    pool: SqlitePool,
    partitions: u32,
}

impl Reader {
    pub(super) fn new(options: SqliteConnectOptions, partitions: u32) -> Self {
        Self { pool: SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options), partitions }
    }

    pub(super) async fn end(&self, partition: PartitionId) -> Result<Offset, ReadError> {
        if partition.0 >= self.partitions {
            return Err(ReadError::no_partition(partition, self.partitions));
        }
        let end = async { end(&mut *self.pool.acquire().await?, partition).await };
        end.await.map_err(|error| passing(partition, &error))
    }

    /// What is there from `from` on, within the bounds.
    pub(super) async fn read(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Result<Batch, ReadError> {
        let mut filling = Filling::new(partition, from, bounds);
        {
            let mut rows = sqlx::query(
                r#"SELECT "offset", payload FROM records WHERE partition = ? AND "offset" >= ?
                   ORDER BY "offset" LIMIT ?"#,
            )
            .bind(partition.0)
            .bind(column(from))
            .bind(i64::try_from(bounds.records.max(1)).unwrap_or(i64::MAX))
            .fetch(&self.pool);
            while let Some(row) = rows.try_next().await.map_err(|error| passing(partition, &error))? {
                let offset =
                    Offset(row.try_get::<i64, _>(0).map_err(|error| passing(partition, &error))?.cast_unsigned());
                if offset != filling.next() {
                    return Err(ReadError::gap(partition, filling.next(), offset));
                }
                if !filling.push(offset, row.try_get(1).map_err(|error| passing(partition, &error))?) {
                    break;
                }
            }
        }
        let batch = filling.finish();
        if batch.records.is_empty() {
            let end = self.end(partition).await?;
            if from > end {
                return Err(ReadError::out_of_range(partition, from, Offset(0), end));
            }
        }
        Ok(batch)
    }
}

fn passing(partition: PartitionId, error: &sqlx::Error) -> ReadError {
    ReadError::Passing(format!("partition {partition}: {error}"))
}
