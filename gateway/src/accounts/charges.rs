//! What this gateway has charged to one account and no view of the ledger includes yet. No I/O here.

use std::collections::VecDeque;

use schemas::{Offset, Usd};

/// Charges on their way into the ledger.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Charges {
    /// Of events whose place in the log is not known yet: they wait in the spool, or are being written.
    unplaced: Usd,
    /// Of events at log positions that the view does not include yet.
    unapplied: VecDeque<(Offset, Usd)>,
}

impl Charges {
    /// An event with this cost is being recorded.
    pub(crate) fn add(&mut self, cost: Usd) {
        // A sum beyond exact money stays what it was; each cost is within a balance, and those are not near it.
        self.unplaced = self.unplaced.checked_add(cost).unwrap_or(self.unplaced);
    }

    /// It was not recorded after all.
    pub(crate) fn take_back(&mut self, cost: Usd) {
        self.unplaced = self.unplaced.checked_sub(cost).unwrap_or_default();
    }

    /// It is in the log, `at` this place; the newest view includes what is up to `seen`.
    pub(crate) fn place(&mut self, cost: Usd, at: Offset, seen: Option<Offset>) {
        self.take_back(cost);
        if seen.is_none_or(|seen| at > seen) && !cost.is_zero() {
            self.unapplied.push_back((at, cost));
        }
    }

    /// A view includes what is up to `seen`.
    pub(crate) fn applied(&mut self, seen: Offset) {
        self.unapplied.retain(|(at, _)| *at > seen);
    }

    /// All of them; `None` beyond exact money.
    pub(crate) fn total(&self) -> Option<Usd> {
        self.unapplied.iter().try_fold(self.unplaced, |sum, (_, cost)| sum.checked_add(*cost))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.unplaced.is_zero() && self.unapplied.is_empty()
    }
}
