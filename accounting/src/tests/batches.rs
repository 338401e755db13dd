//! I3: the same log gives the same state, byte for byte, whatever the batches and however partitions interleave.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::events::*;
use super::histories::Telling;
use super::memory::Memory;
use super::random::{Moment, moment};
use crate::{AccountState, Outcome, StateHash};

/// Accounts 0 and 2 are in partition 0, account 1 in partition 1.
fn partitions(history: &[Moment]) -> [Vec<Vec<u8>>; 2] {
    let records = Telling::records_of(history);
    [0, 1].map(|partition| {
        let mine = records.iter().filter(|(account, _)| account % 2 == partition);
        mine.map(|(_, record)| record.clone()).collect()
    })
}

/// Every outcome of both partitions, and what they made.
fn run(
    partitions: &[Vec<Vec<u8>>; 2],
    size: usize,
    order: [usize; 2],
    alternating: bool,
) -> ([Vec<String>; 2], Memory) {
    let mut memory = Memory::default();
    let mut shown = [vec![], vec![]];
    let mut batches = [partitions[0].chunks(size), partitions[1].chunks(size)];
    let mut take = |partition: usize, batch: &[Vec<u8>]| {
        let entries = memory.take(u32::try_from(partition).unwrap(), batch);
        shown[partition].extend(entries.iter().map(|entry| format!("{entry:?}")));
    };
    if alternating {
        loop {
            let next = order.map(|partition| batches[partition].next());
            for (partition, batch) in order.into_iter().zip(next) {
                if let Some(batch) = batch {
                    take(partition, batch);
                }
            }
            if next == [None, None] {
                break;
            }
        }
    } else {
        for partition in order {
            batches[partition].by_ref().for_each(|batch| take(partition, batch));
        }
    }
    (shown, memory)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(8), ..ProptestConfig::default() })]

    #[test]
    fn batches_and_interleaving_do_not_matter(
        history in prop::collection::vec(moment(), 200..400), size in 2..50_usize,
    ) {
        let partitions = partitions(&history);
        let whole = run(&partitions, 10_000, [0, 1], false);
        let hash = whole.1.hash();
        for size in [1, size, 100, 10_000] {
            for order in [[0, 1], [1, 0]] {
                for alternating in [false, true] {
                    let again = run(&partitions, size, order, alternating);
                    prop_assert_eq!(again.1.hash(), hash);
                    prop_assert_eq!(&again, &whole);
                }
            }
        }
    }

    /// The document of a state is the state, whole.
    #[test]
    fn documents_read_back_as_they_were(history in prop::collection::vec(moment(), 200..300)) {
        let [first, second] = partitions(&history);
        let mut memory = Memory::default();
        memory.take(0, &first);
        memory.take(1, &second);
        for state in memory.accounts.values() {
            let document = state.to_document().unwrap();
            let again = AccountState::from_document(&document).unwrap();
            prop_assert_eq!(&again, state);
            prop_assert_eq!(again.to_document().unwrap(), document);
        }
    }
}

#[test]
fn hashes_tell_states_apart() {
    let mut memory = Memory::default();
    let hash = |memory: &Memory| memory.hash().to_string();
    assert_eq!(hash(&memory), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let mut seen = vec![hash(&memory)];
    for data in [open(), grant(1, usd("5"), 1), usage(1), key(1)] {
        let id = u32::try_from(seen.len()).unwrap();
        memory.take(0, &[event(id, micros(1), data).encode().unwrap()]);
        seen.push(hash(&memory));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let refused = AccountState::from_document("{}").unwrap_err().to_string();
    assert!(refused.starts_with("not an account's document: missing field"), "{refused}");
    assert_eq!(format!("{:?}", memory.hash()), hash(&memory));
    let one = StateHash::of(memory.accounts.values()).unwrap();
    assert_ne!(one, StateHash::of(memory.accounts.values().chain(memory.accounts.values())).unwrap());
}

/// The histories are worth something: they apply every event type, and run into all reasons that depend on a state.
#[test]
fn histories_reach_everything() {
    let mut runner = TestRunner::deterministic();
    let mut applied: BTreeMap<&str, u32> = BTreeMap::new();
    let mut quarantined: BTreeMap<&str, u32> = BTreeMap::new();
    let mut duplicates = 0;
    for _ in 0..100 {
        let history = prop::collection::vec(moment(), 220..300).new_tree(&mut runner).unwrap().current();
        let [first, second] = partitions(&history);
        let mut memory = Memory::default();
        for entry in memory.take(0, &first).into_iter().chain(memory.take(1, &second)) {
            match (entry.outcome, entry.event) {
                (Outcome::Applied(_), Some(event)) => *applied.entry(event.data.event_type()).or_default() += 1,
                (Outcome::Quarantined(reason), _) => *quarantined.entry(reason.code()).or_default() += 1,
                (Outcome::Duplicate, _) => duplicates += 1,
                (Outcome::Applied(_), None) => unreachable!("it has an event"),
            }
        }
    }
    let every: BTreeSet<String> =
        schemas::json_schema::all().into_iter().map(|(name, _)| name.split(".v").next().unwrap().to_owned()).collect();
    assert_eq!(applied.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), every);
    assert!(applied.values().all(|times| *times >= 20) && duplicates >= 100, "{applied:?} {duplicates}");
    let unreachable = [
        "misrouted",
        "nul_character",
        "out_of_range",
        "inconsistent_tokens",
        "amount_not_cents",
        "never_expires",
        "too_early",
        "price_mismatch",
        "invalid_period",
        "unknown_subscription",
    ];
    let reached = super::quarantined::every_code().into_iter().filter(|code| !unreachable.contains(code));
    let missing: Vec<_> = reached.filter(|code| !quarantined.contains_key(code)).collect();
    assert!(missing.is_empty(), "{missing:?} of {quarantined:?}");
}
