//! From the log into a store.

use std::sync::Arc;

use async_trait::async_trait;
use eventlog::{Batch, Sink, SinkError, partition};
use schemas::{Event, Offset, PartitionId};

use crate::{Fact, FactBatch, StoreError, UsageStore};

/// The projector's consumer of the log. It keeps nothing between batches: the position is the store's, and its memory
/// is bounded by the batch's.
pub struct ProjectorSink {
    store: Arc<dyn UsageStore>,
    partitions: u32,
}

impl ProjectorSink {
    /// A sink into `store` for a log of `partitions` partitions.
    pub fn new(store: Arc<dyn UsageStore>, partitions: u32) -> Self {
        Self { store, partitions }
    }

    /// Records that are no event, or of an account whose records belong into another partition, are passed over: the
    /// ledger keeps them in quarantine.
    fn facts(&self, batch: Batch) -> FactBatch {
        let Batch { partition, from, records, next } = batch;
        let (mut facts, mut passed_over) = (Vec::new(), 0_u64);
        for record in records {
            let event = Event::decode(&record.payload).ok();
            match event.filter(|event| partition::of(event.subject, self.partitions) == partition) {
                Some(event) => facts.extend(Fact::of(record.offset, &event)),
                None => passed_over += 1,
            }
        }
        if passed_over > 0 {
            tracing::debug!(%partition, %from, %next, passed_over, "records that the ledger quarantines were passed over");
        }
        FactBatch { partition, from, facts, next }
    }
}

#[async_trait]
impl Sink for ProjectorSink {
    async fn position(&self, partition: PartitionId) -> Result<Offset, SinkError> {
        Ok(self.store.position(partition).await?)
    }

    async fn apply(&self, batch: Batch) -> Result<(), SinkError> {
        Ok(self.store.insert(self.facts(batch)).await?)
    }
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Moved => Self::Moved,
            StoreError::Unavailable(detail) => Self::Unavailable(detail),
        }
    }
}
