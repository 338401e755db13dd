//! Accounts, keys, credit and invoices.

use schemas::event::{CreditSource, SubscriptionChange};
use schemas::{Event, EventData};

use super::super::events::*;
use super::super::memory::Memory;
use super::Table;
use crate::Outcome;

pub(super) fn accounts_and_keys(table: &mut Table) {
    let unknown = [
        key(1),
        suspend(),
        close(),
        grant(1, usd("5"), 1),
        usage(1),
        pay(1, 1, usd("5"), None),
        start(free(), period(0, 1), 1, None),
    ];
    for data in unknown {
        table.check(&[], data, "unknown_account");
    }
    table.check(&[open()], open(), "already_open");
    let closed = [open(), key(1), close()];
    for data in [key(2), suspend(), reinstate(), close(), start(free(), period(0, 1), 1, None)] {
        table.check(&closed, data, "account_closed");
    }
    let subscribed = [open(), start(free(), period(0, 1), 1, None), close()];
    let goes_on = [
        renew(period(0, 1), free(), period(1, 2), 2, None),
        change(SubscriptionChange::StayAsItIs),
        change_at_once(switch(period(0, 1), unused(usd("0"), 3), free(), period(1, 2), 2)),
    ];
    for data in goes_on {
        table.check(&subscribed, data, "account_closed");
    }
    table.check(&[open(), key(1)], key(1), "key_exists");
    table.check(&[open()], rename_key(1, "x"), "unknown_key");
    table.check(&[open()], revoke_key(1), "unknown_key");
    table.check(&[open(), key(1), revoke_key(1)], revoke_key(1), "unknown_key");
    table.check(&closed, revoke_key(1), "unknown_key");
}

pub(super) fn credit(table: &mut Table) {
    let granted = [open(), grant(1, usd("5"), 1)];
    for again in [grant(1, usd("5"), 1), give(1, usd("5")), pay(1, 1, usd("5"), None)] {
        table.check(&granted, again, "lot_exists");
    }
    let frozen = [open(), pay(1, 1, usd("5"), None), dispute(1, 1, usd("5"), false)];
    table.check(&frozen, grant(1, usd("5"), 1), "lot_exists");
    for amount in ["0", "-1"] {
        let amount = usd(amount);
        let bad = [grant(1, amount, 1), give(1, amount), take(None, amount), pay(1, 1, amount, None), fail(1, amount)];
        for data in bad {
            table.check(&[open()], data, "amount_not_positive");
        }
    }
    table.check(&[open(), grant(1, usd("9000000"), 1)], grant(2, usd("0.000000000001"), 1), "out_of_range");
    table.check(&[open(), take(None, usd("9000000"))], take(None, usd("0.01")), "out_of_range");
    table.check(&[open(), grant(1, usd("5"), 1)], expire(1), "not_expired");
    table.check(&[open(), grant_until(1, usd("5"), 1, Some(micros(2)))], expire(1), "not_expired");
    let part = [
        open(),
        grant_until(1, usd("5"), 1, Some(micros(1))),
        pay(1, 2, usd("6"), None),
        dispute(1, 1, usd("6"), true),
    ];
    let mut whole = part.to_vec();
    whole.insert(3, take(Some(2), usd("6")));
    table.check(&whole, expire(1), "lot_frozen");
    let mut trial = grant_until(1, usd("5"), 1, Some(micros(2)));
    if let EventData::CreditGrantedV2(data) = &mut trial {
        data.source = CreditSource::Trial;
    }
    table.check(&[open()], trial, "never_expires");
}

pub(super) fn invoices(table: &mut Table) {
    let opened = event_of(OPERATOR, 1, micros(1), open());
    let mut check = |event: Event, code: &'static str| {
        let mut memory = Memory::default();
        memory.take(0, &[opened.encode().unwrap()]);
        memory.take(0, &[event_of(1, 2, micros(1), open()).encode().unwrap()]);
        let before = memory.accounts.clone();
        let Outcome::Quarantined(reason) = memory.take(0, &[event.encode().unwrap()]).remove(0).outcome else {
            panic!("not quarantined: {event:?}")
        };
        assert_eq!((reason.code(), &memory.accounts), (code, &before), "{reason}: {event:?}");
        assert!(!reason.to_string().is_empty());
        table.codes.insert(code);
    };
    let data = invoice(1, "1969-12", Some(3), 9);
    check(Event { subject: account_id(1), ..issue(data, micros(0)) }, "not_the_operator");
    check(Event { subject: account_id(7), ..issue(data, micros(0)) }, "not_the_operator");
    for customers in [key(1), suspend(), close(), grant(1, usd("5"), 1), usage(1), pay(1, 1, usd("5"), None)] {
        check(event_of(OPERATOR, 3, micros(1), customers), "operator_account");
    }
    check(issue(invoice(OPERATOR, "1969-12", None, 9), micros(0)), "operator_account");
    check(issue(invoice(1, "1969-12", Some(9), 9), micros(0)), "empty_range");
    check(issue(invoice(1, "1969-12", Some(9), 8), micros(0)), "empty_range");
    let other = issue(invoice(1, "1969-12", None, 9), micros(0));
    check(Event { id: other.id, ..issue(data, micros(0)) }, "other_invoice");
    check(issue(invoice(1, "1970-01", None, 9), micros(0)), "month_not_over");
    check(issue(data, micros(-1)), "month_not_over");
    check(event_of(OPERATOR, 4, micros(1), open()), "already_open");
}
