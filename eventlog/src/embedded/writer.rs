//! The one writer: all that wait share a transaction, and so an `fsync`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemas::{Offset, PartitionId};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, QueryBuilder, Sqlite, Transaction};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{AppendError, Record};

/// The most records in one transaction, and the most that wait for the next one.
pub(super) const GROUP: usize = 1_024;

/// Enough rows to make the round trip to the connection cheap; a full statement is prepared once.
const ROWS_PER_STATEMENT: usize = 64;

/// An append that waits.
pub(super) struct Append {
    pub(super) partition: PartitionId,
    pub(super) record: Record,
    pub(super) done: oneshot::Sender<Result<Offset, AppendError>>,
}

pub(super) struct Writer {
    options: SqliteConnectOptions,
    conn: Option<SqliteConnection>,
    appended: Arc<watch::Sender<()>>,
    commits: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn new(
        options: SqliteConnectOptions,
        appended: Arc<watch::Sender<()>>,
        commits: Arc<AtomicU64>,
    ) -> Self {
        Self { options, conn: None, appended, commits }
    }

    /// Serves the queue until nobody can append any more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Append>) {
        let mut group = Vec::with_capacity(GROUP);
        while queue.recv_many(&mut group, GROUP).await > 0 {
            match self.write(&group).await {
                Ok(offsets) => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    self.appended.send_replace(());
                    for (append, offset) in group.drain(..).zip(offsets) {
                        // Nobody to tell where the caller has gone away.
                        let _ = append.done.send(Ok(offset));
                    }
                }
                Err(error) => {
                    // What state a failed commit left the connection in is anybody's guess.
                    self.conn = None;
                    for append in group.drain(..) {
                        let _ = append.done.send(Err(AppendError::Unavailable(error.to_string())));
                    }
                }
            }
        }
    }

    async fn write(&mut self, group: &[Append]) -> Result<Vec<Offset>, sqlx::Error> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            none => none.insert(SqliteConnection::connect_with(&self.options).await?),
        };
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
        let offsets = place(&mut tx, group).await?;
        let rows: Vec<_> = group.iter().zip(&offsets).collect();
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            QueryBuilder::<Sqlite>::new(r#"INSERT INTO records (partition, "offset", key, payload) "#)
                .push_values(rows, |mut row, (append, offset)| {
                    row.push_bind(append.partition.0)
                        .push_bind(offset.0.cast_signed())
                        .push_bind(append.record.key.0)
                        .push_bind(&append.record.payload[..]);
                })
                .build()
                .persistent(matches!(rows.len(), 1 | ROWS_PER_STATEMENT))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(offsets)
    }
}

/// The offsets that the group's records get. Asked of the file every time: another process may have appended.
async fn place(tx: &mut Transaction<'_, Sqlite>, group: &[Append]) -> Result<Vec<Offset>, sqlx::Error> {
    let mut ends: BTreeMap<PartitionId, Offset> = BTreeMap::new();
    let mut offsets = Vec::with_capacity(group.len());
    for append in group {
        let end = match ends.get(&append.partition) {
            Some(end) => *end,
            None => super::file::end(tx, append.partition).await?,
        };
        offsets.push(end);
        ends.insert(append.partition, end.next());
    }
    Ok(offsets)
}
