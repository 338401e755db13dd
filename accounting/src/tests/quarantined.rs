//! Every reason for quarantine, by table. Nothing of the account changes.

use std::collections::BTreeSet;

use schemas::api::AtPeriodEnd;
use schemas::event::{BillingAnchor, CreditSource, SubscriptionChange};
use schemas::{Event, EventData, EventId, Month, Offset, SubscriptionId};

use super::events::*;
use super::memory::Memory;
use super::saga::Saga;
use crate::{AccountState, ChainHash, Fold, Outcome, Reason, RecordRef};

struct Table {
    codes: BTreeSet<&'static str>,
}

impl Table {
    #[track_caller]
    fn check(&mut self, history: &[EventData], last: EventData, code: &'static str) {
        let mut saga = Saga::of(history);
        let before: Option<AccountState> = saga.memory.accounts.get(&account_id(1)).cloned();
        let shown = format!("{last:?}");
        let Outcome::Quarantined(reason) = saga.tell(micros(1), last) else { panic!("not quarantined: {shown}") };
        assert_eq!(reason.code(), code, "{reason}: {shown}");
        assert!(!reason.to_string().is_empty());
        assert_eq!(saga.memory.accounts.get(&account_id(1)), before.as_ref());
        self.codes.insert(code);
    }
}

/// Every code there is. A new reason does not compile here before it has a row.
pub(super) fn every_code() -> BTreeSet<&'static str> {
    let of = |reason: Reason| match &reason {
        Reason::Undecodable(_)
        | Reason::Misrouted
        | Reason::IdReused
        | Reason::NulCharacter { .. }
        | Reason::UnknownAccount
        | Reason::AlreadyOpen
        | Reason::AccountClosed
        | Reason::KeyExists(_)
        | Reason::UnknownKey(_)
        | Reason::LotExists(_)
        | Reason::NeverExpires(_)
        | Reason::NotExpired(_)
        | Reason::LotFrozen(_)
        | Reason::DecidedOtherwise(_)
        | Reason::TooEarly { .. }
        | Reason::AmountNotPositive(_)
        | Reason::AmountNotCents(_)
        | Reason::OutOfRange
        | Reason::InconsistentTokens
        | Reason::CostMismatch { .. }
        | Reason::StaleCorrection(_)
        | Reason::PaymentExists(_)
        | Reason::UnknownPayment(_)
        | Reason::OtherProcessor(_)
        | Reason::BeyondPayment { .. }
        | Reason::DisputeExists(_)
        | Reason::UnknownDispute(_)
        | Reason::SubscriptionExists(_)
        | Reason::UnknownSubscription(_)
        | Reason::OtherPeriod { .. }
        | Reason::InvalidPeriod(_)
        | Reason::PriceMismatch { .. }
        | Reason::NotTheOperator
        | Reason::OperatorAccount
        | Reason::EmptyRange { .. }
        | Reason::OtherInvoice { .. }
        | Reason::MonthNotOver(_) => reason.code(),
    };
    let (stated, open) = (period(0, 1), period(0, 2));
    let money = usd("1");
    [
        Reason::Undecodable(String::new()),
        Reason::Misrouted,
        Reason::IdReused,
        Reason::NulCharacter { field: "" },
        Reason::UnknownAccount,
        Reason::AlreadyOpen,
        Reason::AccountClosed,
        Reason::KeyExists(key_id(1)),
        Reason::UnknownKey(key_id(1)),
        Reason::LotExists(lot_id(1)),
        Reason::NeverExpires(lot_id(1)),
        Reason::NotExpired(lot_id(1)),
        Reason::LotFrozen(lot_id(1)),
        Reason::DecidedOtherwise(AtPeriodEnd::End),
        Reason::TooEarly { period: open, at: micros(0) },
        Reason::AmountNotPositive(money),
        Reason::AmountNotCents(money),
        Reason::OutOfRange,
        Reason::InconsistentTokens,
        Reason::CostMismatch { stated: money, rated: money },
        Reason::StaleCorrection(event_id(1)),
        Reason::PaymentExists(payment_id(1)),
        Reason::UnknownPayment(payment_id(1)),
        Reason::OtherProcessor(payment_id(1)),
        Reason::BeyondPayment { asked: money, left: money },
        Reason::DisputeExists(dispute_id(1)),
        Reason::UnknownDispute(dispute_id(1)),
        Reason::SubscriptionExists(subscription_id(1)),
        Reason::UnknownSubscription(subscription_id(1)),
        Reason::OtherPeriod { stated, open },
        Reason::InvalidPeriod(stated),
        Reason::PriceMismatch { stated: money, charged: money },
        Reason::NotTheOperator,
        Reason::OperatorAccount,
        Reason::EmptyRange { after: Offset(1), through: Offset(1) },
        Reason::OtherInvoice { stated: event_id(1), derived: event_id(2) },
        Reason::MonthNotOver(Month::holding(micros(0))),
    ]
    .map(of)
    .into()
}

#[test]
fn what_is_quarantined_changes_nothing() {
    let mut table = Table { codes: BTreeSet::new() };
    accounts_and_keys(&mut table);
    credit(&mut table);
    usage_and_corrections(&mut table);
    payments_and_disputes(&mut table);
    subscriptions(&mut table);
    invoices(&mut table);
    texts(&mut table);
    records(&mut table);
    assert_eq!(table.codes, every_code());
}

fn invoices(table: &mut Table) {
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

fn accounts_and_keys(table: &mut Table) {
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

fn credit(table: &mut Table) {
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

fn usage_and_corrections(table: &mut Table) {
    let granted = [open(), grant(1, usd("5"), 1)];
    let dollars = |completion, cost: &str| usage_at(dollar_price(), tokens(0, 0, completion), usd(cost));
    table.check(&granted, dollars(2, "2.000000000001"), "cost_mismatch");
    table.check(&granted, dollars(9_000_001, "9000000"), "cost_mismatch");
    let beyond = usd("9000000").checked_add(usd("1")).unwrap();
    table.check(&granted, usage_at(dollar_price(), tokens(0, 0, 9_000_001), beyond), "undecodable");
    table.check(&[open(), dollars(9_000_000, "9000000")], dollars(1, "1"), "out_of_range");
    table.check(&granted, dollars(1_000_000_001, "0"), "inconsistent_tokens");
    table.check(&granted, usage_at(dollar_price(), tokens(1, 2, 0), usd("0")), "inconsistent_tokens");
    let mut reasoning = tokens(0, 0, 1);
    reasoning.reasoning = 2;
    table.check(&granted, usage_at(dollar_price(), reasoning, usd("1")), "inconsistent_tokens");

    let recorded = charge(tokens(10, 0, 5), 0, usd("0.40"));
    let used = [open(), usage_v2(cents_price(), recorded.tokens)];
    let correct_first = |before, now, lot| correct(102, cents_price(), before, now, lot);
    let stated = charge(recorded.tokens, 0, usd("0.41"));
    table.check(&used, correct_first(stated, tokens(1, 0, 1), 1), "cost_mismatch");
    let beyond = charge(recorded.tokens, 16, usd("0"));
    table.check(&used, correct_first(beyond, tokens(1, 0, 1), 1), "inconsistent_tokens");
    // Whatever a plan is said to have covered: no tokens come from nowhere.
    let subscribed = [open(), start(plan("p", "0", 10, 0), period(0, 1000), 7, None)];
    for prompt in [1_000_000_001, u64::MAX] {
        let invented = charge(tokens(prompt, 0, 0), prompt, usd("0"));
        table.check(&subscribed, correct(102, cents_price(), invented, tokens(0, 0, 0), 1), "inconsistent_tokens");
    }
    let broken = charge(tokens(1, 2, 0), 0, usd("0"));
    table.check(&used, correct_first(broken, tokens(1, 0, 1), 1), "inconsistent_tokens");
    table.check(&used, correct_first(recorded, tokens(1, 2, 0), 1), "inconsistent_tokens");
    table.check(&used, correct_first(recorded, tokens(0, 0, 450_000_001), 1), "out_of_range");
    let mut corrected = used.to_vec();
    corrected.push(correct_first(recorded, tokens(1, 0, 1), 1));
    table.check(&corrected, correct_first(recorded, tokens(1, 0, 1), 2), "stale_correction");
    let now = charge(tokens(1, 0, 1), 0, usd("0.05"));
    let mut other_model = correct_first(now, tokens(1, 0, 0), 2);
    if let EventData::UsageCorrected(data) = &mut other_model {
        data.model = "dearer".into();
    }
    table.check(&corrected, other_model, "stale_correction");
    let covered =
        [open(), start(plan("p", "0", 99, 0), period(0, 1000), 7, None), usage_v2(cents_price(), tokens(9, 0, 0))];
    let stated = charge(tokens(9, 0, 0), 9, usd("0"));
    let mut once = covered.to_vec();
    once.push(correct(103, cents_price(), stated, tokens(8, 0, 0), 1));
    let stated = charge(tokens(8, 0, 0), 8, usd("0"));
    table.check(&once, correct(103, dollar_price(), stated, tokens(9, 0, 0), 2), "stale_correction");
    let funded = [open(), usage_v2(cents_price(), recorded.tokens), grant(1, usd("5"), 1)];
    table.check(&funded, correct_first(recorded, tokens(1, 0, 1), 1), "lot_exists");
}

fn payments_and_disputes(table: &mut Table) {
    let paid = [open(), pay(1, 1, usd("20"), None)];
    table.check(&[open()], pay(1, 1, usd("0.001"), None), "amount_not_cents");
    table.check(&[open()], pay(1, 1, usd("1"), Some(usd("-1"))), "amount_not_positive");
    table.check(&[open()], fail(1, usd("0.001")), "amount_not_cents");
    table.check(&paid, refund(1, "p", usd("0.001")), "amount_not_cents");
    table.check(&paid, dispute(1, 1, usd("0.001"), true), "amount_not_cents");
    table.check(&paid, refund(1, "p", usd("0")), "amount_not_positive");
    table.check(&paid, pay(1, 2, usd("20"), None), "payment_exists");
    table.check(&[open()], refund(1, "p", usd("1")), "unknown_payment");
    table.check(&[open()], dispute(1, 1, usd("1"), true), "unknown_payment");
    table.check(&[open()], start(free(), period(0, 1), 1, Some(1)), "unknown_payment");
    table.check(&paid, refund(1, "q", usd("1")), "other_processor");
    table.check(&paid, refund(1, "p", usd("20.01")), "beyond_payment");
    table.check(&paid, dispute(1, 1, usd("20.01"), true), "beyond_payment");
    let refunded = [open(), pay(1, 1, usd("20"), None), refund(1, "p", usd("15"))];
    table.check(&refunded, refund(1, "p", usd("5.01")), "beyond_payment");
    table.check(&refunded, dispute(1, 1, usd("5.01"), true), "beyond_payment");
    let all = [open(), pay(1, 1, usd("20"), None), refund(1, "p", usd("20"))];
    table.check(&all, refund(1, "p", usd("0.01")), "beyond_payment");
    // A processor tells of a payment again, by another event, when nothing of it is left.
    table.check(&all, pay(1, 2, usd("20"), None), "payment_exists");
    let gone = [open(), pay(1, 1, usd("20"), None), dispute(1, 1, usd("20"), true)];
    table.check(&gone, pay(1, 2, usd("20"), None), "payment_exists");
    let mut lost = gone.to_vec();
    lost.push(decide(1, 1, false, true));
    table.check(&lost, pay(1, 2, usd("20"), None), "payment_exists");
    // And of a dispute, when it is decided.
    for won in [true, false] {
        let decided = [open(), pay(1, 1, usd("20"), None), dispute(1, 1, usd("5"), true), decide(1, 1, won, true)];
        table.check(&decided, dispute(1, 1, usd("5"), true), "dispute_exists");
    }

    let disputed = [open(), pay(1, 1, usd("20"), None), dispute(1, 1, usd("15"), true)];
    table.check(&disputed, dispute(1, 1, usd("1"), true), "dispute_exists");
    table.check(&disputed, refund(1, "p", usd("5.01")), "beyond_payment");
    table.check(&disputed, decide(2, 1, true, true), "unknown_dispute");
    table.check(&disputed, decide(1, 2, true, true), "unknown_dispute");
    let mut lost = disputed.to_vec();
    lost.push(decide(1, 1, false, true));
    table.check(&lost, decide(1, 1, false, true), "unknown_dispute");
    table.check(&lost, refund(1, "p", usd("5.01")), "beyond_payment");
    let rich =
        [open(), pay(1, 1, usd("9000000"), None), dispute(1, 1, usd("9000000"), true), pay(2, 2, usd("9000000"), None)];
    table.check(&rich, decide(1, 1, true, true), "out_of_range");
}

fn subscriptions(table: &mut Table) {
    let small = plan("small", "10", 1000, 600);
    let first = period(0, 1000);
    let running = [open(), start(small.clone(), first, 7, None)];
    let next = period(1000, 2000);
    table.check(&running, start(small.clone(), next, 8, None), "subscription_exists");
    let about_it = [
        renew(first, small.clone(), next, 8, None),
        change(SubscriptionChange::StayAsItIs),
        change_at_once(switch(first, unused(usd("10"), 9), small.clone(), next, 8)),
        past_due(first, micros(1)),
        cancel(first, micros(1), None),
    ];
    for mut data in about_it {
        table.check(&[open()], data.clone(), "unknown_subscription");
        let other: SubscriptionId = subscription_id(2);
        match &mut data {
            EventData::SubscriptionRenewed(data) => data.subscription_id = other,
            EventData::SubscriptionChanged(data) => data.subscription_id = other,
            EventData::SubscriptionPastDue(data) => data.subscription_id = other,
            EventData::SubscriptionCanceled(data) => data.subscription_id = other,
            _ => unreachable!(),
        }
        table.check(&running, data, "unknown_subscription");
    }
    let stale = period(0, 999);
    for data in [
        renew(stale, small.clone(), period(999, 2000), 8, None),
        change_at_once(switch(stale, unused(usd("10"), 9), small.clone(), next, 8)),
        past_due(stale, micros(1)),
        cancel(stale, micros(1), None),
    ] {
        table.check(&running, data, "other_period");
    }
    table.check(&[open()], start(small.clone(), period(5, 5), 7, None), "invalid_period");
    table.check(&[open()], start(small.clone(), period(5, 4), 7, None), "invalid_period");
    table.check(&running, renew(first, small.clone(), period(1000, 1000), 8, None), "invalid_period");
    table.check(&running, renew(first, small.clone(), period(1001, 2000), 8, None), "invalid_period");
    table.check(
        &running,
        change_at_once(switch(first, unused(usd("10"), 9), small.clone(), period(5, 5), 8)),
        "invalid_period",
    );
    let day = 24 * 60 * 60 * 1_000_000;
    let long_before = -day - 1;
    let before = change_at_once(switch(first, unused(usd("10"), 9), small.clone(), period(long_before, 900), 8));
    table.check(&running, before, "invalid_period");
    table.check(&running, cancel(first, micros(long_before), None), "invalid_period");
    table.check(&running, cancel(first, micros(long_before), Some(unused(usd("10"), 9))), "invalid_period");
    let decided = |change_: SubscriptionChange| [running.to_vec(), vec![change(change_)]].concat();
    let again = renew(first, small.clone(), next, 8, None);
    table.check(&decided(SubscriptionChange::EndAtPeriodEnd), again.clone(), "decided_otherwise");
    table.check(&decided(SubscriptionChange::AtPeriodEnd(free())), again, "decided_otherwise");
    let long = period(0, day + 2);
    let begun = [open(), start(small.clone(), long, 7, None)];
    let soon = renew(long, small.clone(), period(day + 2, 2 * day), 8, None);
    table.check(&begun, soon, "too_early");
    let mut zone = start(small.clone(), first, 7, None);
    if let EventData::SubscriptionStarted(data) = &mut zone {
        data.anchor = BillingAnchor { at: micros(0), utc_offset_minutes: 841 };
    }
    table.check(&[open()], zone, "invalid_period");
    let stated = unused(usd("9.99"), 9);
    table.check(&running, change_at_once(switch(first, stated, small.clone(), next, 8)), "price_mismatch");
    table.check(&running, cancel(first, micros(1), Some(stated)), "price_mismatch");
    let mut funded = running.to_vec();
    funded.extend([grant(1, usd("20"), 1), grant(9, usd("1"), 1)]);
    let into_taken = change_at_once(switch(first, unused(usd("10"), 9), small.clone(), period(500, 900), 8));
    table.check(&funded, into_taken, "lot_exists");
    table.check(&running, renew(first, small.clone(), next, 7, None), "lot_exists");
    let huge = 1_000_000_000_000_001;
    let terms = [
        (plan("x", "-1", 0, 0), "amount_not_positive"),
        (plan("x", "1", huge, 0), "out_of_range"),
        (plan("x", "1", 0, huge), "out_of_range"),
    ];
    for (terms, code) in terms {
        table.check(&[open()], start(terms.clone(), first, 7, None), code);
        table.check(&running, renew(first, terms.clone(), next, 8, None), code);
        table.check(&running, change(SubscriptionChange::AtPeriodEnd(terms)), code);
    }
}

fn texts(table: &mut Table) {
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

fn records(table: &mut Table) {
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
