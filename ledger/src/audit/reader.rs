//! The log, read ahead of who folds it.

use std::sync::Arc;

use eventlog::{Batch, Bounds, EventLog};
use schemas::{Offset, PartitionId};
use tokio::sync::mpsc;

/// Large batches share what is looked up, small ones share the memory.
const BOUNDS: Bounds = Bounds { records: 10_000, bytes: 16 << 20 };

/// Batches that wait to be folded.
const AHEAD: usize = 2;

pub(super) enum Read {
    Batch(Batch),
    Failed(Unreadable),
}

/// The first record that the log does not give.
pub(super) struct Unreadable {
    pub(super) at: Offset,
    pub(super) why: String,
}

/// Reads a partition from its begin to before `to`.
pub(super) fn ahead(log: Arc<dyn EventLog>, partition: PartitionId, to: Offset) -> mpsc::Receiver<Read> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let (mut from, mut records) = (Offset(0), BOUNDS.records);
        while from < to {
            let left = usize::try_from(to.0 - from.0).unwrap_or(usize::MAX);
            let read = match log.read(partition, from, Bounds { records: records.min(left), ..BOUNDS }).await {
                Ok(batch) if batch.records.is_empty() => {
                    Read::Failed(Unreadable { at: from, why: format!("the log ends at {partition}:{from}") })
                }
                Ok(batch) => {
                    from = batch.next;
                    Read::Batch(batch)
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
