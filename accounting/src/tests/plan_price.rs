//! What a plan's price takes, compared with what the fold charges.

use schemas::api::Funds;
use schemas::event::SubscriptionChange;
use schemas::{EventData, Usd};

use super::events::{
    change, change_at_once, grant, micros, open, period, plan, renew, start, switch, take, unused, usage, usd,
};
use super::saga::Saga;
use crate::lease::{Lease, Pool, due, set_aside};

const MONTH: (i64, i64) = (0, 2_592_000_000_000);

/// What `data` takes in the state that a history led to. Where nothing else is used and nothing was owed, the fold leaves as
/// a debt exactly what of that there is not.
fn check(history: &[EventData], data: &EventData, reserved: u64, expected: Option<&str>) {
    let mut saga = Saga::of(history);
    let due = due(saga.state(), data, reserved);
    assert_eq!(due.map(|due| due.to_string()).as_deref(), expected, "{data:?}");
    let (credit, debt) = (saga.state().credit().unwrap(), saga.state().debt);
    saga.posts_at(micros(MONTH.1), data.clone());
    if reserved == 0 && debt.is_zero() {
        let short = due.unwrap_or_default().checked_sub(credit).unwrap().max(Usd::ZERO);
        assert_eq!(saga.state().debt, short, "{data:?}");
    }
}

#[test]
fn what_is_due_is_what_credit_has_to_pay() {
    let month = period(MONTH.0, MONTH.1);
    let half = micros(MONTH.1 / 2);
    let next = period(MONTH.1, 2 * MONTH.1);
    let (small, large) = (plan("small", "15", 1_000, 0), plan("large", "65", 5_000, 0));
    let has = |amount: &str| vec![open(), grant(1, usd(amount), 100)];
    let on_small = |amount: &str| [has(amount), vec![start(small.clone(), month, 10, None)]].concat();
    let starts = start(small.clone(), month, 10, None);
    check(&has("15"), &starts, 0, Some("15"));
    check(&has("10"), &starts, 7, Some("15"));
    check(&has("10"), &start(plan("gratis", "0", 5, 0), month, 10, None), 0, None);
    let renews = renew(month, small.clone(), next, 11, None);
    check(&on_small("30"), &renews, 0, Some("15"));
    check(&on_small("15"), &renews, 1_000, Some("15"));
    // Half of the price comes back with half of the month, or with half of the tokens, whichever is less.
    let switched = || {
        let rest = period(half.as_micros(), half.as_micros() + MONTH.1);
        change_at_once(switch(month, unused(usd("15"), 20), large.clone(), rest, 12))
    };
    check(&on_small("100"), &switched(), 0, Some("57.5"));
    check(&on_small("60"), &switched(), 0, Some("57.5"));
    check(&on_small("100"), &switched(), 500, Some("57.5"));
    check(&on_small("100"), &switched(), 750, Some("61.25"));
    check(&on_small("100"), &switched(), 2_000, Some("65"));
    let used = [on_small("100"), vec![usage(900)]].concat();
    check(&used, &switched(), 0, Some("63.5"));
    check(&used, &switched(), 50, Some("64.25"));
    // A debt takes its part of what comes back first.
    let indebted = [on_small("15"), vec![take(None, usd("2.5"))]].concat();
    check(&indebted, &switched(), 0, Some("60"));
    let deep = [on_small("15"), vec![take(None, usd("20"))]].concat();
    check(&deep, &switched(), 0, Some("65"));
    check(&on_small("100"), &change(SubscriptionChange::AtPeriodEnd(large.clone())), 0, None);
    check(&has("1"), &grant(2, usd("1"), 100), 0, None);
}

fn funds(amount: &str, plan_tokens: u64) -> Funds {
    Funds { usd: usd(amount), plan_tokens }
}

#[test]
fn all_of_a_price_is_set_aside_or_nothing() {
    let check = |has: Funds, elsewhere: Funds, own: Option<&Lease>, due: &str, expected: Option<Funds>| {
        let pool = Pool { funds: has, reserved_elsewhere: elsewhere };
        let closed = |granted| Lease { granted, spent: granted, closed: true, ..Lease::default() };
        assert_eq!(set_aside(&pool, own, usd(due), true), expected.map(closed), "{pool:?} {due}");
        // Where they don't count, plan tokens stay free for requests.
        let own = own.map(|own| closed(funds(&own.granted.usd.to_string(), 0)));
        let expected = expected.map(|granted| closed(Funds { plan_tokens: 0, ..granted }));
        assert_eq!(set_aside(&pool, own.as_ref(), usd(due), false), expected, "{pool:?} {due}");
    };
    check(funds("20", 100), funds("5", 30), None, "15", Some(funds("15", 70)));
    check(funds("20", 100), funds("5", 30), None, "15.000000000001", None);
    check(funds("20", 0), funds("21", 0), None, "0.000000000001", None);
    check(funds("20", 0), funds("21", 0), None, "0", Some(Funds::ZERO));
    // Again, at another price: no less than before.
    let own =
        set_aside(&Pool { funds: funds("20", 100), reserved_elsewhere: Funds::ZERO }, None, usd("15"), true).unwrap();
    check(funds("20", 100), Funds::ZERO, Some(&own), "12", Some(funds("15", 100)));
    check(funds("20", 100), Funds::ZERO, Some(&own), "17", Some(funds("17", 100)));
    assert_eq!(own.reserved(), funds("15", 100));
}
