//! The log in one `SQLite` file, for one machine.
//!
//! Appends go to one writer, which puts all that wait into one transaction, so that they share its `fsync`. Any number
//! of processes may open the file; readers learn of another process's appends by a slow poll. There is no group
//! membership: every [`EventLog::run`] gets every partition, and where two of them run with one sink store, the store's
//! compare-and-swap on the position (I4) lets each batch in once and the other one re-read.

mod file;
mod neighbours;
mod source;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use schemas::{Offset, PartitionId, Position};
use sqlx::sqlite::SqliteConnectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::file::Reader;
use self::source::EmbeddedSource;
use self::writer::{Append, Writer};
use crate::run::Loops;
use crate::{AppendError, Batch, Bounds, EventLog, LogError, MAX_PAYLOAD_BYTES, Record, Sink, partition};

/// The log in an `SQLite` file.
pub struct EmbeddedLog {
    partitions: u32,
    reader: Reader,
    writer: mpsc::Sender<Append>,
    appended: Arc<watch::Sender<()>>,
    options: SqliteConnectOptions,
    commits: Arc<AtomicU64>,
}

impl EmbeddedLog {
    /// Opens the file, or creates it with this many partitions. What it was created with stays: an account's events
    /// must all be in one partition.
    pub async fn open(path: &Path, partitions: u32) -> Result<Self, LogError> {
        Self::with_options(file::options(path), partitions)
            .await
            .map_err(|error| LogError::Unavailable(format!("can't open {}: {error}", path.display())))
    }

    async fn with_options(options: SqliteConnectOptions, partitions: u32) -> Result<Self, sqlx::Error> {
        let partitions = file::create(&options, partitions).await?;
        let (writer, queue) = mpsc::channel(writer::GROUP);
        let appended = Arc::new(watch::Sender::new(()));
        let commits = Arc::new(AtomicU64::new(0));
        tokio::spawn(Writer::new(options.clone(), Arc::clone(&appended), Arc::clone(&commits)).run(queue));
        Ok(Self { partitions, reader: Reader::new(options.clone(), partitions), writer, appended, options, commits })
    }

    /// How many transactions this process's appends took so far.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    async fn append(&self, record: Record) -> Result<Position, AppendError> {
        let size_bytes = record.payload.len();
        if size_bytes > MAX_PAYLOAD_BYTES {
            return Err(AppendError::TooLarge { size_bytes, max_bytes: MAX_PAYLOAD_BYTES });
        }
        let partition = partition::of(record.key, self.partitions);
        let (done, answer) = oneshot::channel();
        let stopped = || AppendError::Unavailable("the log's writer has stopped".to_owned());
        self.writer.send(Append { partition, record, done }).await.map_err(|_| stopped())?;
        let offset = answer.await.map_err(|_| stopped())??;
        Ok(Position { partition, offset })
    }

    async fn end(&self, partition: PartitionId) -> Result<Offset, LogError> {
        Ok(self.reader.end(partition).await?)
    }

    async fn read(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Result<Batch, LogError> {
        Ok(self.reader.read(partition, from, bounds).await?)
    }

    async fn run(&self, _group: &str, sink: Arc<dyn Sink>, stop: CancellationToken) -> Result<(), LogError> {
        let mut loops = Loops::new(sink);
        for id in (0..self.partitions).map(PartitionId) {
            loops.start(id, EmbeddedSource::new(id, self.reader.clone(), &self.appended));
        }
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = loops.ended() => ended,
            () = neighbours::watch(&self.options, &self.appended) => Ok(()),
        };
        outcome.and(loops.stop_all().await)
    }
}
