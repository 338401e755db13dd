//! From the log into a store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventlog::{Batch, Sink, SinkError};
use schemas::{Event, Offset, PartitionId, Usd};
use thiserror::Error;

use crate::{Fact, FactBatch, StoreError, UsageStore};

/// How often statistics are written, at most: each write is a part of its own to `ClickHouse`, which is to merge them.
const PACE: Duration = Duration::from_millis(200);

/// The ledger can't say yet what became of a batch's records, or can't be asked.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct PostingsUnavailable(pub String);

/// What the ledger made of the log's records. Statistics say what was charged, and that is decided by an account's state.
#[async_trait]
pub trait Postings: Send + Sync + 'static {
    /// What each record of the batch that posted changed its account's balance by. Records that are not there did not post:
    /// they are no event, in quarantine, or a repeat. The same batch has the same answer, for ever.
    async fn amounts(&self, batch: &Batch) -> Result<BTreeMap<Offset, Usd>, PostingsUnavailable>;
}

/// The projector's consumer of the log. It keeps nothing between batches: the position is the store's, and its memory
/// is bounded by the batch's.
pub struct ProjectorSink {
    store: Arc<dyn UsageStore>,
    postings: Arc<dyn Postings>,
}

impl ProjectorSink {
    /// A sink into `store`.
    pub fn new(store: Arc<dyn UsageStore>, postings: Arc<dyn Postings>) -> Self {
        Self { store, postings }
    }
}

/// The facts of records that posted.
fn facts(batch: &Batch, amounts: &BTreeMap<Offset, Usd>) -> FactBatch {
    let posted = batch.records.iter().filter_map(|record| Some((record, *amounts.get(&record.offset)?)));
    let facts = posted.filter_map(|(record, amount)| {
        // What posted was an event.
        Fact::of(record.offset, &Event::decode(&record.payload).ok()?, amount)
    });
    FactBatch { partition: batch.partition, from: batch.from, facts: facts.collect(), next: batch.next }
}

#[async_trait]
impl Sink for ProjectorSink {
    async fn position(&self, partition: PartitionId) -> Result<Offset, SinkError> {
        Ok(self.store.position(partition).await?)
    }

    async fn apply(&self, batch: Batch) -> Result<(), SinkError> {
        let amounts = self.postings.amounts(&batch).await;
        let amounts = amounts.map_err(|error| SinkError::Unavailable(error.to_string()))?;
        Ok(self.store.insert(facts(&batch, &amounts)).await?)
    }

    fn pace(&self) -> Duration {
        PACE
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
