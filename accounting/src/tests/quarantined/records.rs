//! Records that say what no event may, or what another one with their id has said.

use schemas::event::SubscriptionChange;
use schemas::{Event, EventId};

use super::super::events::*;
use super::super::memory::Memory;
use super::super::saga::Saga;
use super::Table;
use crate::{ChainHash, Fold, Outcome, RecordRef};

pub(super) fn texts(table: &mut Table) {
    let bad = |text: &str| format!("{text}\0");
    let everything = [
        open(),
        suspend(),
        reinstate(),
        close(),
        key(1),
        rename_key(1, "x"),
        revoke_key(1),
        grant(1, usd("5"), 1),
        grant_until(1, usd("5"), 1, None),
        give(1, usd("5")),
        usage(1),
        usage_v2(dollar_price(), tokens(0, 0, 1)),
        correct(1, cents_price(), charge(tokens(0, 0, 0), 0, usd("0")), tokens(0, 0, 0), 1),
        pay(1, 1, usd("5"), None),
        fail(1, usd("5")),
        refund(1, "p", usd("5")),
        dispute(1, 1, usd("5"), true),
        start(free(), period(0, 1), 1, None),
        renew(period(0, 1), free(), period(1, 2), 1, None),
        change(SubscriptionChange::AtPeriodEnd(free())),
        change_at_once(switch(period(0, 1), unused(usd("0"), 1), free(), period(1, 2), 1)),
        cancel(period(0, 1), micros(1), None),
    ];
    for data in everything {
        for field in ["reason", "name", "hint", "model", "upstream", "processor", "id"] {
            let record = event(1, micros(1), data.clone()).encode().unwrap();
            let mut record: serde_json::Value = serde_json::from_slice(&record).unwrap();
            if replace(&mut record["data"], field, &bad) {
                let spoiled = schemas::Event::decode(record.to_string().as_bytes()).unwrap();
                table.check(&[], spoiled.data, "nul_character");
            }
        }
    }
}

/// Changes every text of that name; whether there is one.
fn replace(value: &mut serde_json::Value, field: &str, with: &impl Fn(&str) -> String) -> bool {
    let serde_json::Value::Object(object) = value else { return false };
    let mut found = false;
    for (name, value) in object {
        match value {
            serde_json::Value::String(text) if name == field => {
                *text = with(text);
                found = true;
            }
            other => found |= replace(other, field, with),
        }
    }
    found
}

pub(super) fn records(table: &mut Table) {
    let outcome = |payload: &[u8], home: bool| {
        let record = RecordRef { offset: schemas::Offset(0), payload };
        let fold = Fold::decode([record], |_| home);
        let folded = fold.apply([].into(), [].into(), ChainHash::GENESIS);
        assert!(folded.accounts.is_empty());
        let Outcome::Quarantined(reason) = &folded.entries[0].outcome else { panic!("not quarantined") };
        (reason.code(), folded.entries[0].event.is_some())
    };
    let opened = event(1, micros(1), open()).encode().unwrap();
    let reused = Saga::of(&[open()]).deliver(&event(101, micros(1), suspend()));
    let Outcome::Quarantined(reason) = reused else { panic!("not quarantined") };
    table.codes.insert(reason.code());
    for (payload, home, expected) in [
        (&opened[..], false, ("misrouted", true)),
        (&b"\xff"[..], true, ("undecodable", false)),
        (&opened[..opened.len() - 1], true, ("undecodable", false)),
    ] {
        assert_eq!(outcome(payload, home), expected);
        table.codes.insert(expected.0);
    }
}

/// A repeat may happen at another time and come from elsewhere; another account, another type or another word in it is
/// another fact.
#[test]
fn an_id_posts_one_fact() {
    let granted = |account| Event { id: event_id(7), ..event_of(account, 7, micros(5), grant(1, usd("5"), 1)) };
    let first = granted(1);
    let check = |second: Event, expected: &str| {
        let events = [event(1, micros(1), open()), event_of(2, 2, micros(1), open()), first.clone(), second.clone()];
        let records = events.map(|event| event.encode().unwrap());
        for size in [1, 4] {
            let mut memory = Memory::default();
            let outcomes = records.chunks(size).flat_map(|batch| memory.take(0, batch)).map(|entry| entry.outcome);
            let outcome = match outcomes.last().unwrap() {
                Outcome::Quarantined(reason) => reason.code(),
                Outcome::Duplicate => "a repeat",
                Outcome::Applied(_) => "another posting",
            };
            assert_eq!(outcome, expected, "in batches of {size}: {second:?}");
            assert_eq!(memory.accounts[&account_id(1)].balance(), Some(usd("5")));
            assert_eq!(memory.accounts[&account_id(2)].balance(), Some(usd("0")));
        }
    };
    check(first.clone(), "a repeat");
    check(Event { time: micros(6), ..first.clone() }, "a repeat");
    check(Event { source: "/elsewhere/\"data\":".into(), ..first.clone() }, "a repeat");
    check(Event { id: event_id(8), data: grant(2, usd("0"), 1), ..first.clone() }, "amount_not_positive");
    check(granted(2), "id_reused");
    check(Event { data: grant(1, usd("5.01"), 1), ..first.clone() }, "id_reused");
    check(Event { data: grant_until(1, usd("5"), 1, Some(micros(9))), ..first.clone() }, "id_reused");
    check(Event { data: give(1, usd("5")), ..first.clone() }, "id_reused");
    check(Event { id: event_id(1), ..event(1, micros(1), suspend()) }, "id_reused");
}

/// A derived id names the fact, which may be told in other words; not another account's, or of another type.
#[test]
fn a_derived_id_posts_what_it_names() {
    let id = EventId(account_id(1).derive("a grant"));
    let told = |account, data| Event { id, ..event_of(account, 7, micros(5), data) }.encode().unwrap();
    let check = |second: Vec<u8>, expected: &str| {
        let mut memory = Memory::default();
        let opened = [1, 2].map(|account| event_of(account, account, micros(1), open()).encode().unwrap());
        memory.take(0, &opened);
        memory.take(0, &[told(1, grant(1, usd("5"), 1))]);
        let outcome = match memory.take(0, &[second]).remove(0).outcome {
            Outcome::Quarantined(reason) => reason.code(),
            Outcome::Duplicate => "a repeat",
            Outcome::Applied(_) => "another posting",
        };
        assert_eq!((outcome, memory.accounts[&account_id(1)].balance()), (expected, Some(usd("5"))));
    };
    check(told(1, grant(1, usd("5"), 1)), "a repeat");
    check(told(1, grant(2, usd("6"), 1)), "a repeat");
    check(told(1, give(1, usd("5"))), "id_reused");
    check(told(2, grant(1, usd("5"), 1)), "id_reused");
}
