//! What earlier runs of this gateway left in its spool: until all of that is in the log, their leases may not end.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use eventlog::Record;
use eventlog::spool::Drained;
use schemas::Position;
use tokio::sync::Notify;

/// Records that are not in the log yet, by a hash of what they say: a spool may hold a million of them.
#[derive(Default)]
pub struct Leftovers {
    left: Mutex<HashSet<u64>>,
    gone: Notify,
}

impl Leftovers {
    /// Adds one that was there at the start.
    pub fn add(&self, record: &Record) {
        self.left().insert(hash(record));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.left().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    /// Returns when all of them are in the log.
    pub async fn gone(&self) {
        loop {
            let gone = self.gone.notified();
            if self.is_empty() {
                return;
            }
            gone.await;
        }
    }

    fn left(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.payload.hash(&mut hasher);
    hasher.finish()
}

impl Drained for Leftovers {
    fn drained(&self, record: &Record, _: Position) {
        let mut left = self.left();
        if !left.is_empty() && left.remove(&hash(record)) && left.is_empty() {
            drop(left);
            self.gone.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::{AccountId, Offset, PartitionId};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn they_are_gone_when_each_of_them_is_in_the_log() {
        let record = |text: &'static str| Record { key: AccountId(Uuid::nil()), payload: text.as_bytes().into() };
        let at = Position { partition: PartitionId(0), offset: Offset(0) };
        let leftovers = Leftovers::default();
        leftovers.gone().await;
        for text in ["a", "b"] {
            leftovers.add(&record(text));
        }
        let drain = async {
            // One that came later, and one that is told again.
            for text in ["c", "a", "a"] {
                leftovers.drained(&record(text), at);
                tokio::task::yield_now().await;
                assert!(!leftovers.is_empty(), "{text}");
            }
            leftovers.drained(&record("b"), at);
        };
        tokio::join!(leftovers.gone(), drain);
        assert_eq!(leftovers.len(), 0);
    }
}
