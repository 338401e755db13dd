//! A steady producer of mixed events: the same seed, the same records in the same order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use eventlog::{EventLog, Record};
use futures_util::future::join_all;
use schemas::{Offset, PartitionId};

use super::facts::{Fact, Written, account};
use super::model::Model;

/// Accounts that the events are about.
const ACCOUNTS: u64 = 60;
/// Records that may be repeated.
const REMEMBERED: usize = 2_000;

/// Appends at once: few enough for a log to take them in the order in which they were offered.
const TOGETHER: usize = 50;

/// Numbers that only look random: splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From zero to before `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Writes the log, and knows what it should come to.
pub(super) struct Producer {
    log: Arc<dyn EventLog>,
    random: Random,
    pub(super) model: Model,
    /// Events made so far.
    number: u64,
    recent: VecDeque<Written>,
    /// Records that arrive late, and after how many others.
    late: VecDeque<(u64, Written)>,
    /// Where the last record of each partition is.
    last: BTreeMap<PartitionId, Offset>,
    pub(super) records: u64,
}

impl Producer {
    pub(super) fn new(log: Arc<dyn EventLog>, seed: u64) -> Self {
        let (model, recent, late) = (Model::default(), VecDeque::new(), VecDeque::new());
        Self { log, random: Random(seed), model, number: 0, recent, late, last: BTreeMap::new(), records: 0 }
    }

    /// Appends so many records, durably.
    pub(super) async fn append(&mut self, count: usize) {
        for done in (0..count).step_by(TOGETHER) {
            self.append_together(TOGETHER.min(count - done)).await;
        }
    }

    async fn append_together(&mut self, count: usize) {
        let written: Vec<Written> = (0..count).map(|_| self.next()).collect();
        let appends = written
            .iter()
            .map(|written| self.log.append(Record { key: written.account, payload: written.payload.clone().into() }));
        for position in join_all(appends).await {
            let position = position.expect("appended");
            // The model was told in this order.
            let before = self.last.insert(position.partition, position.offset);
            assert!(before.is_none_or(|before| before < position.offset), "{position:?} is not after {before:?}");
        }
        self.records += count as u64;
    }

    fn next(&mut self) -> Written {
        let written = self.draw();
        self.model.apply(&written);
        self.recent.push_back(written.clone());
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
        written
    }

    fn draw(&mut self) -> Written {
        if let Some((_, late)) = self.late.pop_front_if(|(due, _)| *due <= self.number) {
            return late;
        }
        let repeats = self.random.below(100) < 5 && !self.recent.is_empty();
        if repeats {
            let which = self.random.below(self.recent.len() as u64);
            return self.recent[usize::try_from(which).expect("a small number")].clone();
        }
        let written = self.made();
        if self.random.below(100) == 0 {
            let due = self.number + 100;
            self.late.push_back((due, written));
            return self.draw();
        }
        written
    }

    /// A new one. Most of them can post.
    fn made(&mut self) -> Written {
        self.number += 1;
        let id = account(self.random.below(ACCOUNTS));
        let roll = self.random.below(1_000);
        let fact = match self.model.accounts.get(&id) {
            _ if roll == 0 => Fact::Garbage,
            None if roll < 900 => Fact::Open,
            None => Fact::Grant(1),
            Some(known) => match roll {
                1..10 => Fact::Open,
                10..30 => Fact::Key,
                30..70 => Fact::Grant(1 + i64::try_from(self.random.below(3_000_000_000_000)).expect("small")),
                70..90 => Fact::Take(1 + i64::try_from(self.random.below(50_000_000_000)).expect("small")),
                90..140 => Fact::Pay { cents: 100 + i64::try_from(self.random.below(3_000)).expect("small") },
                140..170 => match known.payment(self.random.below(1_000)) {
                    // One cent in ten more than is left.
                    Some((payment, left)) => {
                        let tenth = self.random.below(10) + 1;
                        let cents = if tenth == 10 { left + 1 } else { (left / 10).max(1) };
                        Fact::Refund { payment, cents }
                    }
                    None => Fact::Refund { payment: 0, cents: 1 },
                },
                170..200 => match known.subscription() {
                    None => Fact::Start,
                    Some((subscription, period)) => match roll % 6 {
                        0 => Fact::Start,
                        1 => Fact::Cancel { subscription, period },
                        2 => Fact::Renew { subscription, period: period + 1 },
                        _ => Fact::Renew { subscription, period },
                    },
                },
                _ => {
                    let prompt = self.random.below(900);
                    Fact::Use([prompt, self.random.below(prompt + 1), self.random.below(300)])
                }
            },
        };
        Written::new(self.number, id, fact)
    }
}
