//! The log, read and decoded ahead of who folds it: in order, and on as many threads as there are batches ahead.

use std::sync::Arc;

use accounting::{Fold, RecordRef};
use bytes::Bytes;
use eventlog::{Batch, Bounds, EventLog, partition};
use schemas::{Offset, PartitionId};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Batches whose rows are compared: as large as the ledger's own, because the database finds rows by ranges of such batches.
pub(super) const COMPARED: Bounds = Bounds { records: 10_000, bytes: 16 << 20 };

/// Batches that are only replayed: small, because several are in memory at a time.
pub(super) const REPLAYED: Bounds = Bounds { records: 2_000, bytes: 4 << 20 };

/// Batches that wait to be folded, or are being decoded.
const AHEAD: usize = 3;

pub(super) enum Read {
    Batch(JoinHandle<Decoded>),
    Failed(Unreadable),
}

/// A batch, decoded.
pub(super) struct Decoded {
    pub(super) batch: Batch,
    pub(super) fold: Fold<Bytes>,
}

impl Decoded {
    fn of(batch: Batch, partitions: u32) -> Self {
        let records = batch.records.iter();
        let records = records.map(|record| RecordRef { offset: record.offset, payload: record.payload.clone() });
        let fold = Fold::decode(records, |account| partition::of(account, partitions) == batch.partition);
        Self { batch, fold }
    }
}

/// The first record that the log does not give.
pub(super) struct Unreadable {
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
        let (mut from, mut records) = (Offset(0), bounds.records);
        while from < to {
            let left = usize::try_from(to.0 - from.0).unwrap_or(usize::MAX);
            let read = match log.read(partition, from, Bounds { records: records.min(left), ..bounds }).await {
                Ok(batch) if batch.records.is_empty() => {
                    Read::Failed(Unreadable { at: from, why: format!("the log ends at {partition}:{from}") })
                }
                Ok(batch) => {
                    from = batch.next;
                    let partitions = log.partitions();
                    Read::Batch(tokio::task::spawn_blocking(move || Decoded::of(batch, partitions)))
                }
                // Which record of the batch it is shows when they are read one by one.
                Err(_) if records > 1 => {
                    records = 1;
                    continue;
                }
                Err(error) => Read::Failed(Unreadable { at: from, why: error.to_string() }),
            };
            let failed = matches!(read, Read::Failed(_));
            if sender.send(read).await.is_err() || failed {
                return;
            }
        }
    });
    receiver
}
