//! The loops of the partitions that this process owns at the moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::PartitionId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Source, partition};
use crate::{Bounds, LogError, Sink};

/// One loop a partition, each a task, so that a slow or troubled partition holds up no other.
pub(crate) struct Loops {
    sink: Arc<dyn Sink>,
    running: BTreeMap<PartitionId, CancellationToken>,
    tasks: JoinSet<(PartitionId, Result<(), LogError>)>,
}

impl Loops {
    pub(crate) fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, running: BTreeMap::new(), tasks: JoinSet::new() }
    }

    pub(crate) fn start<S: Source>(&mut self, id: PartitionId, source: S) {
        let stop = CancellationToken::new();
        let run = partition(id, source, Arc::clone(&self.sink), Bounds::default(), stop.clone());
        self.running.insert(id, stop);
        self.tasks.spawn(async move { (id, run.await) });
    }

    /// Ends these loops, and returns when their last batch is applied.
    pub(crate) async fn stop(&mut self, ids: &[PartitionId]) -> Result<(), LogError> {
        for id in ids {
            if let Some(stop) = self.running.get(id) {
                stop.cancel();
            }
        }
        let mut outcome = Ok(());
        while ids.iter().any(|id| self.running.contains_key(id)) {
            outcome = outcome.and(self.ended().await);
        }
        outcome
    }

    /// Ends all loops.
    pub(crate) async fn stop_all(&mut self) -> Result<(), LogError> {
        let ids: Vec<_> = self.running.keys().copied().collect();
        self.stop(&ids).await
    }

    /// Waits for a loop to end; for ever while there is none.
    pub(crate) async fn ended(&mut self) -> Result<(), LogError> {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok((id, outcome))) => {
                self.running.remove(&id);
                outcome
            }
            Some(Err(failure)) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(LogError::Unavailable("the runtime is shutting down".to_owned())),
            },
        }
    }
}
