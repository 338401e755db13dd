//! Waiting out what fails, and saying so once.

use std::time::Duration;

use schemas::PartitionId;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A step of the loop that can fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Position,
    Read,
    Apply,
}

/// What a partition's loop is going through.
pub(super) struct Trouble {
    partition: PartitionId,
    failing: Option<Step>,
    next_wait: Duration,
}

impl Trouble {
    pub(super) fn new(partition: PartitionId) -> Self {
        Self { partition, failing: None, next_wait: FIRST_WAIT }
    }

    /// The step failed: waits, longer each time.
    pub(super) async fn wait(&mut self, step: Step, error: &str, end: &CancellationToken) {
        if self.failing != Some(step) {
            warn!(partition = %self.partition, ?step, error, "the partition's loop waits and tries again");
            self.failing = Some(step);
        }
        let wait = self.next_wait;
        self.next_wait = (wait * 2).min(LONGEST_WAIT);
        tokio::select! {
            () = end.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// The step went well.
    pub(super) fn passed(&mut self, step: Step) {
        if self.failing == Some(step) {
            info!(partition = %self.partition, ?step, "the partition's loop goes on");
            *self = Self::new(self.partition);
        }
    }
}
