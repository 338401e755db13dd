//! Counts by kind, made where something happens and read when metrics are asked for.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often each of `N` kinds of things happened since the start.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Tally<N> {
    /// It happened once more.
    pub(crate) fn count(&self, kind: usize) {
        if let Some(count) = self.0.get(kind) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All counts, by kind.
    pub(crate) fn counts(&self) -> [u64; N] {
        std::array::from_fn(|kind| self.0[kind].load(Ordering::Relaxed))
    }
}
