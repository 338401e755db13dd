//! What the rest of the system asks of a log.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemas::{AccountId, Offset, PartitionId, Position};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// The largest payload that a log takes. A broker's default limit of a message is 1 MiB, with its key and framing.
pub const MAX_PAYLOAD_BYTES: usize = 1_000_000;

/// An event on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's subject; decides the partition.
    pub key: AccountId,
    /// The encoded event.
    pub payload: Bytes,
}

/// A record as the log holds it. What it holds may be anything: bytes are facts too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the partition.
    pub offset: Offset,
    /// The encoded event.
    pub payload: Bytes,
}

/// Consecutive records of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The partition.
    pub partition: PartitionId,
    /// Where the batch begins: the reader's position before it.
    pub from: Offset,
    /// The records, in order.
    pub records: Vec<StoredRecord>,
    /// The reader's position after it.
    pub next: Offset,
}

/// How much one batch may hold. At least one record is always read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most records.
    pub records: usize,
    /// The most payload bytes.
    pub bytes: usize,
}

impl Bounds {
    /// Whether a batch took half of them or more: then its reader is behind, and the next one is there.
    pub(crate) fn are_half_full(self, batch: &Batch) -> bool {
        let bytes = || batch.records.iter().map(|record| record.payload.len()).sum::<usize>();
        batch.records.len() > self.records / 2 || bytes() > self.bytes / 2
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self { records: 10_000, bytes: 8 << 20 }
    }
}

/// Why a record is not in the log.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The record is larger than the log takes; trying again can't help.
    #[error("a record of {size_bytes} bytes is larger than the log takes ({max_bytes} bytes)")]
    TooLarge {
        /// The record's size.
        size_bytes: usize,
        /// The log's limit.
        max_bytes: usize,
    },
    /// The log did not confirm the record. It may or may not be there: append the same event again.
    #[error("the event log did not confirm the record: {0}")]
    Unavailable(String),
}

/// Why the log could not be read.
#[derive(Debug, Error)]
pub enum LogError {
    /// It may pass: worth trying again.
    #[error("the event log could not be read: {0}")]
    Unavailable(String),
    /// Trying again can't help: it has lost records, it is not the log that was read before, or its partitions have
    /// changed. Going on would skip records.
    #[error("the event log can't be gone on with: {0}")]
    Lost(String),
}

/// Why a sink did not take a batch.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The position of record is not where the batch begins: somebody else moved it. Read it again.
    #[error("the position of record has moved")]
    Moved,
    /// The sink's store can't be reached or refused; the same batch will be offered again.
    #[error("{0}")]
    Unavailable(String),
}

/// A consumer of the log. Its store holds the position of record (I4), moved in the same transaction as what the batch
/// led to; whatever the log remembers of consumers is a hint.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// The first offset of the partition that the sink's store does not hold yet.
    async fn position(&self, partition: PartitionId) -> Result<Offset, SinkError>;

    /// Takes a batch that begins at the position of record, or refuses it whole.
    async fn apply(&self, batch: Batch) -> Result<(), SinkError>;

    /// While a batch is being applied, the one that follows it: a chance to do what needs nothing but its bytes. Only a
    /// hint: the batch may come to [`Sink::apply`] later, unchanged, or never.
    async fn prepare(&self, _batch: &Batch) {}

    /// The least time between two batches of a partition whose reader is not behind. A batch has its own cost, however small it
    /// is; what comes meanwhile is one. After a pause, a record does not wait. Without a default, which a sink around another one
    /// would have instead of that one's.
    fn pace(&self) -> Duration;

    /// This process runs the partition no more: what is kept of it in memory can go.
    fn leave(&self, _partition: PartitionId) {}
}

/// The log.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// How many partitions it has; fixed when it was created.
    fn partitions(&self) -> u32;

    /// Appends a record; durable on return. Concurrent appends share the cost of durability. Where the future is
    /// dropped, the record may or may not get into the log.
    async fn append(&self, record: Record) -> Result<Position, AppendError>;

    /// The offset that the partition's next record will get.
    async fn end(&self, partition: PartitionId) -> Result<Offset, LogError>;

    /// Records from `from` on: as many as are there and fit the bounds, none at the end of the log. Never waits for
    /// more. Beyond the end is an error: whoever has such a position follows another log.
    async fn read(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Result<Batch, LogError>;

    /// Runs a sink over every partition that this process owns in `group`, waiting for new records, until `stop`.
    /// Members of a group share the partitions out among them. A batch that the sink was given is waited for, also after
    /// `stop`. Trouble that may pass is logged and waited out, as far as that can be done here; after
    /// [`LogError::Lost`], running it again can't help.
    async fn run(&self, group: &str, sink: Arc<dyn Sink>, stop: CancellationToken) -> Result<(), LogError>;
}
