//! The partition loop that both adapters share: position of record, batch, apply, and on from there.

mod ahead;
mod loops;
mod read_error;
mod trouble;

use std::sync::Arc;

use async_trait::async_trait;
use schemas::{Offset, PartitionId};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(crate) use self::loops::Loops;
pub(crate) use self::read_error::ReadError;
use self::trouble::{Step, Trouble};
use crate::{Batch, Bounds, LogError, Sink, SinkError};

/// Where a partition's loop gets its records from.
#[async_trait]
pub(crate) trait Source: Send + 'static {
    /// Waits until there is a record at `from`, then takes what is there within the bounds. Dropping the future loses
    /// nothing.
    async fn batch(&mut self, from: Offset, bounds: Bounds) -> Result<Batch, ReadError>;

    /// The sink holds everything before `next` now.
    fn applied(&mut self, next: Offset);
}

/// Runs the sink over one partition until `stop`, which is obeyed between batches only.
async fn partition<S: Source>(
    partition: PartitionId,
    source: S,
    sink: Arc<dyn Sink>,
    bounds: Bounds,
    stop: CancellationToken,
) -> Result<(), LogError> {
    let outcome = steps(partition, source, &*sink, bounds, stop).await;
    sink.leave(partition);
    outcome
}

async fn steps<S: Source>(
    partition: PartitionId,
    mut source: S,
    sink: &dyn Sink,
    bounds: Bounds,
    stop: CancellationToken,
) -> Result<(), LogError> {
    let mut trouble = Trouble::new(partition);
    // Where a batch began that the sink refused as moved.
    let mut moved_from = None;
    'position: loop {
        let position = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            position = sink.position(partition) => position,
        };
        let mut from = match position {
            Ok(position) => position,
            Err(error) => {
                trouble.wait(Step::Position, &error.to_string(), &stop).await;
                continue;
            }
        };
        trouble.passed(Step::Position);
        if moved_from.take() == Some(from) {
            trouble.wait(Step::Apply, "the sink says that its position has moved, and it has not", &stop).await;
        }
        let mut ahead = None;
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                batch = ahead::or_read(&mut ahead, &mut source, from, bounds) => batch,
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error @ ReadError::Lost(_)) => return Err(error.into()),
                Err(ReadError::Passing(error)) => {
                    trouble.wait(Step::Read, &error, &stop).await;
                    continue 'position;
                }
            };
            trouble.passed(Step::Read);
            let next_at = Instant::now() + sink.pace();
            let (next, is_behind) = (batch.next, bounds.are_half_full(&batch));
            let (applied, following) = ahead::apply(sink, &mut source, batch, bounds, is_behind).await;
            ahead = following;
            match applied {
                Ok(()) => {
                    trouble.passed(Step::Apply);
                    from = next;
                    source.applied(next);
                    if !is_behind && next_at > Instant::now() {
                        stop.run_until_cancelled(sleep_until(next_at)).await;
                    }
                }
                Err(SinkError::Moved) => {
                    moved_from = Some(from);
                    continue 'position;
                }
                Err(error @ SinkError::Unavailable(_)) => {
                    trouble.wait(Step::Apply, &error.to_string(), &stop).await;
                    continue 'position;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
