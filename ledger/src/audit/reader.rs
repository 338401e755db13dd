//! The log, read and decoded ahead of who folds it: in order, and on as many threads as there are batches ahead.
//!
//! A read that fails is tried again: trouble passes, and what passes is no difference. Where one record stays unreadable
//! while the log gives others, the record is lost, which is a finding; where the log gives nothing, there is no audit.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use accounting::{Fold, RecordRef};
use bytes::Bytes;
use eventlog::{Batch, Bounds, EventLog, LogError, StoredRecord, partition};
use schemas::{EventId, Offset, PartitionId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Batches whose rows are compared: as large as the ledger's own, because the database finds rows by ranges of such batches.
pub(super) const COMPARED: Bounds = Bounds { records: 10_000, bytes: 16 << 20 };

/// Batches that are only replayed: small, because several are in memory at a time.
pub(super) const REPLAYED: Bounds = Bounds { records: 2_000, bytes: 4 << 20 };

/// Batches that wait to be folded, or are being decoded.
const AHEAD: usize = 3;

/// The rest before the first further try; each is twice the one before it.
const REST: Duration = Duration::from_millis(100);

/// Tries of a record, where the log gives others.
const TRIES_OF_A_RECORD: u32 = 3;

/// Tries where it gives nothing: half a minute.
const TRIES_OF_THE_LOG: u32 = 8;

pub(super) enum Read {
    Batch(JoinHandle<Decoded>),
    Lost(Lost),
    Away(LogError),
}

/// A batch, decoded.
pub(super) struct Decoded {
    pub(super) batch: Batch,
    pub(super) fold: Fold<Bytes>,
    /// The fold's event ids.
    pub(super) ids: BTreeSet<EventId>,
}

/// Decodes consecutive records of a partition.
pub(super) fn decode<'a>(
    records: impl Iterator<Item = &'a StoredRecord>,
    here: PartitionId,
    partitions: u32,
) -> Fold<Bytes> {
    let records = records.map(|record| RecordRef { offset: record.offset, payload: record.payload.clone() });
    Fold::decode(records, |account| partition::of(account, partitions) == here)
}

/// The first record that the log does not give.
pub(super) struct Lost {
    pub(super) at: Offset,
    pub(super) why: String,
}

/// Reads a partition from its begin to before `to`.
pub(super) fn ahead(
    log: Arc<dyn EventLog>,
    partition: PartitionId,
    to: Offset,
    bounds: Bounds,
) -> mpsc::Receiver<Read> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let (from, one_by_one) = (Offset(0), Offset(0));
        let mut reader = Reader { log, partition, bounds, from, one_by_one, tries: 0, rest: REST };
        while reader.from < to {
            let Some(read) = reader.read(to).await else { continue };
            let ends = !matches!(read, Read::Batch(_));
            if sender.send(read).await.is_err() || ends {
                return;
            }
        }
    });
    receiver
}

struct Reader {
    log: Arc<dyn EventLog>,
    partition: PartitionId,
    bounds: Bounds,
    /// The next record.
    from: Offset,
    /// Before this, a batch failed: which of its records it is shows when they are read one by one.
    one_by_one: Offset,
    /// Reads that failed since the last that did not.
    tries: u32,
    /// Before the first further try.
    rest: Duration,
}

impl Reader {
    /// What comes next; none where it is to be tried again.
    async fn read(&mut self, to: Offset) -> Option<Read> {
        let (partition, from) = (self.partition, self.from);
        let left = usize::try_from(to.0 - from.0).unwrap_or(usize::MAX);
        let records = if from < self.one_by_one { 1 } else { self.bounds.records.min(left) };
        match self.log.read(partition, from, Bounds { records, ..self.bounds }).await {
            Ok(batch) if batch.records.is_empty() => {
                Some(Read::Lost(Lost { at: from, why: format!("the log ends at {partition}:{from}") }))
            }
            Ok(batch) => {
                (self.from, self.tries) = (batch.next, 0);
                let partitions = self.log.partitions();
                Some(Read::Batch(tokio::task::spawn_blocking(move || {
                    let fold = decode(batch.records.iter(), partition, partitions);
                    let ids = fold.event_ids();
                    Decoded { batch, fold, ids }
                })))
            }
            Err(_) if records > 1 => {
                self.one_by_one = Offset(from.0 + records as u64);
                None
            }
            Err(error) => self.failed(error).await,
        }
    }

    async fn failed(&mut self, error: LogError) -> Option<Read> {
        let others = self.gives_others().await;
        let tries = if others { TRIES_OF_A_RECORD } else { TRIES_OF_THE_LOG };
        if self.tries < tries {
            sleep(self.rest * 2_u32.pow(self.tries)).await;
            self.tries += 1;
            return None;
        }
        Some(if others { Read::Lost(Lost { at: self.from, why: error.to_string() }) } else { Read::Away(error) })
    }

    /// Whether the partition's first or last record can be read.
    async fn gives_others(&self) -> bool {
        let Ok(end) = self.log.end(self.partition).await else { return false };
        let last = Offset(end.0.saturating_sub(1));
        for at in [Offset(0), last] {
            let one = Bounds { records: 1, ..self.bounds };
            if at != self.from && at < end && self.log.read(self.partition, at, one).await.is_ok() {
                return true;
            }
        }
        false
    }
}
