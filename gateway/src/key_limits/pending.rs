//! What this gateway has charged on a key, and the ledger's count does not include yet.
//!
//! The count says how much it is, not of whom: whatever it grows by is taken for the oldest of these. A charge that is never
//! counted (its event can't post, or another gateway charged the same request) would be taken off the key's limit for as long
//! as the gateway runs; so each is kept for an hour.

use std::collections::VecDeque;

use schemas::{Timestamp, Usd};

/// How long a charge that is not counted is taken for one that will be: about as long as the log may be away.
const KEPT_MINUTES: i64 = 60;

const MICROS_PER_MINUTE: i64 = 60_000_000;

/// Sums of charges, one a minute, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending(VecDeque<(i64, Usd)>);

impl Pending {
    /// Adds a charge of a request that was admitted at `at`.
    pub(super) fn add(&mut self, at: Timestamp, cost: Usd) {
        let minute = minute(at);
        let place = self.0.partition_point(|(before, _)| *before < minute);
        match self.0.get_mut(place) {
            Some((same, sum)) if *same == minute => *sum = sum.checked_add(cost).unwrap_or(*sum),
            _ => self.0.insert(place, (minute, cost)),
        }
    }

    /// Takes so much off, from the oldest on; what is beyond all of it is others'.
    pub(super) fn counted(&mut self, mut grown: Usd) {
        while let Some((_, sum)) = self.0.front_mut().filter(|_| grown.is_positive()) {
            let taken = (*sum).min(grown);
            grown = less(grown, taken);
            *sum = less(*sum, taken);
            if sum.is_zero() {
                self.0.pop_front();
            }
        }
    }

    /// Takes off a charge that was added and is none, as far as it was not counted.
    pub(super) fn take_back(&mut self, at: Timestamp, cost: Usd) {
        if let Some((_, sum)) = self.0.iter_mut().find(|(of, _)| *of == minute(at)) {
            *sum = less(*sum, cost);
        }
    }

    /// What is not counted yet. Forgets what is too old.
    pub(super) fn sum(&mut self, now: Timestamp) -> Usd {
        let oldest = minute(now).saturating_sub(KEPT_MINUTES);
        self.0.retain(|(of, sum)| *of > oldest && sum.is_positive());
        self.0.iter().try_fold(Usd::ZERO, |all, (_, sum)| all.checked_add(*sum)).unwrap_or(Usd::from_pico(i64::MAX))
    }

    /// Whether there is nothing, or nothing that is not too old at `now`.
    pub(super) fn is_none(&mut self, now: Timestamp) -> bool {
        self.sum(now).is_zero()
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(MICROS_PER_MINUTE)
}

/// What is left of `sum`; never below zero.
pub(super) fn less(sum: Usd, by: Usd) -> Usd {
    sum.checked_sub(by).unwrap_or_default().max(Usd::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(amount: &str) -> Usd {
        amount.parse().unwrap()
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_micros(minutes * MICROS_PER_MINUTE + 7)
    }

    #[test]
    fn the_oldest_charge_is_counted_first_and_none_is_kept_for_ever() {
        let mut pending = Pending::default();
        let check = |pending: &mut Pending, now, expected: &str| {
            assert_eq!(pending.sum(at(now)), usd(expected), "{pending:?} at {now}");
        };
        for (minute, cost) in [(10, "1"), (12, "2"), (10, "0.5"), (11, "4")] {
            pending.add(at(minute), usd(cost));
        }
        check(&mut pending, 12, "7.5");
        pending.counted(usd("1.25"));
        check(&mut pending, 12, "6.25");
        pending.counted(usd("0.5"));
        check(&mut pending, 12, "5.75");
        pending.take_back(at(12), usd("0.5"));
        pending.take_back(at(10), usd("1"));
        check(&mut pending, 12, "5.25");
        // Nobody ever counts the rest.
        check(&mut pending, 70, "5.25");
        check(&mut pending, 71, "1.5");
        check(&mut pending, 72, "0");
        pending.add(at(72), usd("1"));
        pending.counted(usd("9"));
        assert!(pending.is_none(at(72)));
    }
}
