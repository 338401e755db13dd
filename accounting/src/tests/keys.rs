//! Keys with limits: what they may do is kept, and what they use is counted.

use schemas::event::{KeyHash, KeyIssuedV2, KeyLimits, KeyUpdatedV2};
use schemas::{EventData, Timestamp, Usd};

use super::events::{grant, key, key_id, open, rename_key, usage, usd};
use super::saga::Saga;

pub(super) fn dollars_a_day(usd_per_day: Option<Usd>) -> KeyLimits {
    KeyLimits { models: Some(["m".to_owned()].into()), usd_per_day, ..KeyLimits::default() }
}

pub(super) fn issued(limits: KeyLimits) -> EventData {
    let (key_id, hash) = (key_id(1), KeyHash([7; 32]));
    EventData::KeyIssuedV2(Box::new(KeyIssuedV2 { key_id, name: "k".into(), hash, hint: "abcd".into(), limits }))
}

pub(super) fn updated(limits: KeyLimits) -> EventData {
    EventData::KeyUpdatedV2(Box::new(KeyUpdatedV2 { key_id: key_id(1), name: "n".into(), limits }))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn what_a_key_uses_is_counted_while_it_has_a_limit_of_money() {
    let limits = || dollars_a_day(Some(usd("5")));
    let mut saga = Saga::of(&[open(), grant(1, usd("100"), 1), issued(limits())]);
    let seen = |saga: &Saga| {
        let key = &saga.state().keys[&key_id(1)];
        (key.name.clone(), key.limits.clone(), key.used.map(|used| (used.usd_in_day, used.usd_in_month)))
    };
    assert_eq!(seen(&saga), ("k".into(), limits(), None));
    saga.posts_at(at("2026-11-21T10:00:00Z"), usage(1));
    saga.posts_at(at("2026-11-22T10:00:00Z"), usage(2));
    assert_eq!(seen(&saga), ("k".into(), limits(), Some((usd("2"), usd("3")))));
    // A new name changes nothing else, and nothing is counted twice.
    saga.posts(rename_key(1, "other"));
    let document = saga.state().to_document().unwrap();
    assert_eq!(seen(&saga), ("other".into(), limits(), Some((usd("2"), usd("3")))));
    assert_eq!(&crate::AccountState::from_document(&document).unwrap(), saga.state());
    // Another limit keeps the count, none forgets it.
    saga.posts(updated(dollars_a_day(Some(usd("9")))));
    assert_eq!(seen(&saga), ("n".into(), dollars_a_day(Some(usd("9"))), Some((usd("2"), usd("3")))));
    saga.posts(updated(dollars_a_day(None)));
    saga.posts_at(at("2026-11-22T11:00:00Z"), usage(4));
    assert_eq!(seen(&saga), ("n".into(), dollars_a_day(None), None));
}

/// A key without limits is stored as it was before there were any: the states of old logs keep their hashes.
#[test]
fn a_key_without_limits_has_the_document_that_it_always_had() {
    let saga = Saga::of(&[open(), grant(1, usd("100"), 1), key(1), usage(1)]);
    let document = saga.state().to_document().unwrap();
    assert!(document.contains(r#""name":"k","hint":"abcd"}"#), "{document}");
}
