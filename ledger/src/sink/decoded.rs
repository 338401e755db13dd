//! A batch, decoded: what its bytes alone say, worked out off the threads that serve requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use accounting::{Fold, RecordRef};
use bytes::Bytes;
use eventlog::{Batch, partition};
use schemas::{AccountId, EventId, Offset};

use crate::store::StoreError;

/// Records from which on it pays to work on another thread.
const MANY: usize = 64;

/// A batch, decoded.
pub(super) struct Decoded {
    from: Offset,
    next: Offset,
    pub(super) fold: Fold<Bytes>,
    pub(super) accounts: BTreeSet<AccountId>,
    pub(super) events: BTreeSet<EventId>,
}

impl Decoded {
    pub(super) async fn of(batch: &Arc<Batch>, partitions: u32) -> Result<Self, StoreError> {
        let of = Arc::clone(batch);
        off_thread(batch.records.len(), move || Self::new(&of, partitions)).await
    }

    fn new(batch: &Batch, partitions: u32) -> Self {
        let records = batch.records.iter();
        let records = records.map(|record| RecordRef { offset: record.offset, payload: record.payload.clone() });
        let fold = Fold::decode(records, |account| partition::of(account, partitions) == batch.partition);
        let (accounts, events) = (fold.accounts(), fold.event_ids());
        Self { from: batch.from, next: batch.next, fold, accounts, events }
    }

    /// Whether it is of exactly these bytes: the same pieces of memory, which it keeps from being used for others.
    pub(super) fn is_of(&self, batch: &Batch) -> bool {
        let place = |offset: Offset, payload: &Bytes| (offset, payload.as_ptr(), payload.len());
        let own = self.fold.records().map(|record| place(record.offset, &record.payload));
        let theirs = batch.records.iter().map(|record| place(record.offset, &record.payload));
        self.from == batch.from && self.next == batch.next && own.eq(theirs)
    }
}

/// Works on another thread, where there is much to do: thousands of records would keep this one from whatever else runs on it.
pub(super) async fn off_thread<T: Send + 'static>(
    records: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    if records < MANY {
        return Ok(work());
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::unavailable("be written to", "the runtime is shutting down")),
        },
    }
}
