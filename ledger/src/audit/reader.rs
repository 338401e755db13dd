//! The log, read ahead of who folds it.
//!
//! A read that fails is tried again: trouble passes, and what passes is no difference. Where one record stays unreadable
//! while the log gives others, the record is lost, which is a finding; where the log gives nothing, there is no audit.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use eventlog::{Batch, Bounds, EventLog, LogError};
use schemas::{Offset, PartitionId};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Large batches share what is looked up, small ones share the memory.
const BOUNDS: Bounds = Bounds { records: 10_000, bytes: 16 << 20 };

/// Batches that wait to be folded.
const AHEAD: usize = 2;

/// The rest before the first further try; each is twice the one before it.
const REST: Duration = Duration::from_millis(100);

/// Tries of a record, where the log gives others.
const TRIES_OF_A_RECORD: u32 = 3;

/// Tries where it gives nothing: half a minute.
const TRIES_OF_THE_LOG: u32 = 8;

pub(super) enum Read {
    Batch(Batch),
    Lost(Lost),
    Away(LogError),
}

/// The first record that the log does not give.
pub(super) struct Lost {
    pub(super) at: Offset,
    pub(super) why: String,
}

/// Reads a partition from its begin to before `to`.
pub(super) fn ahead(log: Arc<dyn EventLog>, partition: PartitionId, to: Offset) -> mpsc::Receiver<Read> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut reader = Reader { log, partition, from: Offset(0), one_by_one: Offset(0), tries: 0, rest: REST };
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
        let records = if from < self.one_by_one { 1 } else { BOUNDS.records.min(left) };
        match self.log.read(partition, from, Bounds { records, ..BOUNDS }).await {
            Ok(batch) if batch.records.is_empty() => {
                Some(Read::Lost(Lost { at: from, why: format!("the log ends at {partition}:{from}") }))
            }
            Ok(batch) => {
                (self.from, self.tries) = (batch.next, 0);
                Some(Read::Batch(batch))
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
            let one = Bounds { records: 1, ..BOUNDS };
            if at != self.from && at < end && self.log.read(self.partition, at, one).await.is_ok() {
                return true;
            }
        }
        false
    }
}
