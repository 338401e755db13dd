//! Reading ahead: while a batch is being applied, the next one is read and prepared.
//!
//! Only where the reader is behind. Otherwise what arrives meanwhile is better taken together, as one batch.

use std::pin::pin;

use schemas::Offset;

use super::{ReadError, Source};
use crate::{Batch, Bounds, Sink, SinkError};

/// The batch that was read ahead, or else the next one that there is.
pub(super) async fn or_read<S: Source>(
    ahead: &mut Option<Batch>,
    source: &mut S,
    from: Offset,
    bounds: Bounds,
) -> Result<Batch, ReadError> {
    match ahead.take_if(|batch| batch.from == from) {
        Some(batch) => Ok(batch),
        None => source.batch(from, bounds).await,
    }
}

/// Applies a batch, and, where the reader is behind, returns the one after it if that could be read meanwhile.
pub(super) async fn apply<S: Source>(
    sink: &dyn Sink,
    source: &mut S,
    batch: Batch,
    bounds: Bounds,
    is_behind: bool,
) -> (Result<(), SinkError>, Option<Batch>) {
    let next = batch.next;
    let mut applying = pin!(sink.apply(batch));
    if !is_behind {
        return (applying.await, None);
    }
    let read = tokio::select! {
        biased;
        applied = &mut applying => return (applied, None),
        read = source.batch(next, bounds) => read,
    };
    // What is wrong with reading shows again when it is this batch's turn.
    let Ok(following) = read else { return (applying.await, None) };
    let (applied, ()) = tokio::join!(applying, sink.prepare(&following));
    (applied, Some(following))
}
