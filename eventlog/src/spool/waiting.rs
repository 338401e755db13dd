//! How many records wait in the spool, and since when. No I/O and no clock in here.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::place::Place;

/// Records that became durable within so long of each other are as old as the first of them: a log that is away for days
/// costs a mark a second.
const TOGETHER: Duration = Duration::from_secs(1);

/// Records that are durable here and not in the log yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    records: u64,
    /// Oldest first.
    marks: VecDeque<Mark>,
}

/// What became durable at about the same time.
#[derive(Debug)]
struct Mark {
    since: Instant,
    /// Where the last of it ends.
    end: Place,
}

impl Waiting {
    /// What an earlier process left, up to `end`. Since when is not known any more: it counts from now.
    pub(super) fn of(records: u64, end: Place, now: Instant) -> Self {
        let mut waiting = Self::default();
        if records > 0 {
            waiting.wrote(records, end, now);
        }
        waiting
    }

    /// So many more are durable; the last of them ends there.
    pub(super) fn wrote(&mut self, records: u64, end: Place, now: Instant) {
        self.records += records;
        match self.marks.back_mut() {
            Some(mark) if now.saturating_duration_since(mark.since) < TOGETHER => mark.end = end,
            _ => self.marks.push_back(Mark { since: now, end }),
        }
    }

    /// The oldest ones, so many and up to there, are in the log.
    pub(super) fn drained(&mut self, records: u64, to: Place) {
        self.records = self.records.saturating_sub(records);
        while self.marks.front().is_some_and(|mark| mark.end <= to) {
            self.marks.pop_front();
        }
    }

    /// How many wait.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Since when the oldest one waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.marks.front().map(|mark| mark.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_first_that_is_not_drained() {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let place = |segment, at| Place { segment, at };
        let mut waiting = Waiting::of(3, place(1, 300), start);
        let check = |waiting: &Waiting, records: u64, oldest: Option<u64>| {
            assert_eq!((waiting.records(), waiting.oldest()), (records, oldest.map(second)), "{waiting:?}");
        };
        check(&waiting, 3, Some(0));
        waiting.wrote(1, place(1, 400), start + TOGETHER / 2);
        waiting.wrote(2, place(2, 50), second(5));
        check(&waiting, 6, Some(0));
        waiting.drained(3, place(1, 300));
        check(&waiting, 3, Some(0));
        waiting.drained(1, place(1, 400));
        check(&waiting, 2, Some(5));
        waiting.wrote(1, place(2, 90), second(9));
        waiting.drained(2, place(2, 50));
        check(&waiting, 1, Some(9));
        waiting.drained(1, place(2, 90));
        check(&waiting, 0, None);
        check(&Waiting::of(0, place(1, 0), start), 0, None);
    }
}
