//! Effects of a commit, as data, for whoever listens in this process. Nothing is told before the commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::api::AccountView;
use schemas::{Offset, PartitionId};
use tokio::sync::{broadcast, watch};

/// Commits that a slow listener may be behind before it misses some, and has to ask the store again.
const BACKLOG: usize = 1_024;

/// What one commit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The partition.
    pub partition: PartitionId,
    /// Its position of record now.
    pub next: Offset,
    /// Every account that changed, as it is now.
    pub views: Vec<AccountView>,
}

/// Tells what was applied by this process.
#[derive(Debug)]
pub struct Feed {
    progress: watch::Sender<BTreeMap<PartitionId, Offset>>,
    applied: broadcast::Sender<Arc<Applied>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { progress: watch::Sender::default(), applied: broadcast::Sender::new(BACKLOG) }
    }
}

impl Feed {
    /// Every commit from now on. A listener that falls too far behind is told so instead of holding the ledger up.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Applied>> {
        self.applied.subscribe()
    }

    /// Positions of record, of the partitions that this process has moved.
    pub(crate) fn progress(&self) -> watch::Receiver<BTreeMap<PartitionId, Offset>> {
        self.progress.subscribe()
    }

    pub(crate) fn publish(&self, applied: Applied) {
        self.progress.send_modify(|positions| {
            positions.insert(applied.partition, applied.next);
        });
        // Nobody listening is no fault.
        drop(self.applied.send(Arc::new(applied)));
    }
}
