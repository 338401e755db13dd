//! A sink whose store compares and swaps the position, as the real ones do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventlog::{Batch, EventLog, Sink, SinkError, StoredRecord};
use schemas::{Offset, PartitionId};

use super::stage::{held, partitions};

/// What the sinks of a group have in common: for each partition, what they took, in the order in which they did. The
/// position of record follows from it.
#[derive(Default)]
pub(super) struct Store(Mutex<BTreeMap<PartitionId, Vec<StoredRecord>>>);

impl Store {
    /// Whether each partition has all that the log has.
    pub(super) async fn is_level(&self, log: &dyn EventLog) -> bool {
        for partition in partitions() {
            if self.position(partition) < log.end(partition).await.unwrap() {
                return false;
            }
        }
        true
    }

    /// That each partition has what the log has: each record once, in order.
    pub(super) async fn assert_same(&self, log: &dyn EventLog) {
        for partition in partitions() {
            let taken = self.0.lock().unwrap().get(&partition).cloned().unwrap_or_default();
            assert_eq!(taken, held(log, partition).await, "partition {partition}");
        }
    }

    pub(super) fn position(&self, partition: PartitionId) -> Offset {
        let taken = self.0.lock().unwrap();
        taken.get(&partition).and_then(|records| records.last()).map_or(Offset(0), |last| last.offset.next())
    }

    /// Takes the batch where it begins at the position.
    fn swap(&self, batch: Batch) -> Result<(), SinkError> {
        let mut taken = self.0.lock().unwrap();
        let records = taken.entry(batch.partition).or_default();
        let position = records.last().map_or(Offset(0), |last| last.offset.next());
        if batch.from != position {
            return Err(SinkError::Moved);
        }
        assert!(!batch.records.is_empty(), "an empty batch moves nothing");
        records.extend(batch.records);
        Ok(())
    }
}

/// What a sink does with a batch instead of taking it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// Somebody else takes it first.
    LosesTheRace,
    /// Its store is away.
    Fails,
    /// It takes the batch, and the answer gets lost.
    FailsAfterwards,
}

/// One member's sink.
pub(super) struct CasSink {
    pub(super) store: Arc<Store>,
    /// How many batches this member got in.
    pub(super) applied: AtomicUsize,
    /// How many applies have begun.
    pub(super) begun: AtomicUsize,
    /// How long an apply takes.
    pub(super) takes: Duration,
    /// What happens to the next batches.
    pub(super) script: Mutex<VecDeque<Does>>,
    /// A partition whose position can't be told.
    pub(super) unknown: Mutex<Option<PartitionId>>,
}

impl CasSink {
    pub(super) fn new(store: &Arc<Store>) -> Arc<Self> {
        Self::taking(store, Duration::ZERO)
    }

    pub(super) fn taking(store: &Arc<Store>, takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            applied: AtomicUsize::default(),
            begun: AtomicUsize::default(),
            takes,
            script: Mutex::default(),
            unknown: Mutex::default(),
        })
    }

    pub(super) fn applied(&self) -> usize {
        self.applied.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Sink for CasSink {
    async fn position(&self, partition: PartitionId) -> Result<Offset, SinkError> {
        if *self.unknown.lock().unwrap() == Some(partition) {
            return Err(SinkError::Unavailable("the store is away".to_owned()));
        }
        Ok(self.store.position(partition))
    }

    async fn apply(&self, batch: Batch) -> Result<(), SinkError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        let does = self.script.lock().unwrap().pop_front();
        match does {
            None => {
                self.store.swap(batch)?;
                self.applied.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            Some(Does::LosesTheRace) => {
                self.store.swap(batch).unwrap();
                Err(SinkError::Moved)
            }
            Some(Does::Fails) => Err(SinkError::Unavailable("the store is away".to_owned())),
            Some(Does::FailsAfterwards) => {
                self.store.swap(batch).unwrap();
                Err(SinkError::Unavailable("the connection broke".to_owned()))
            }
        }
    }

    fn pace(&self) -> Duration {
        Duration::ZERO
    }
}
