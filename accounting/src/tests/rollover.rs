//! Rollover, renewals and upgrades on real calendars: exact tokens and dollars.

use schemas::catalogue::PlanTerms;
use schemas::event::{BillingAnchor, Period};
use schemas::{EventData, Timestamp};

use super::events::*;
use super::saga::{Saga, closed};
use crate::{LedgerAccount, Outcome, period};

const HOUR: i64 = 3_600_000_000;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn backpack() -> PlanTerms {
    plan("backpack", "15", 100_000_000, 100_000_000)
}

fn launch() -> PlanTerms {
    plan("launch", "65", 500_000_000, 500_000_000)
}

/// So many prompt tokens of `deepseek-v4-flash`: 0.20 USD per 1,000,000.
fn prompt(count: u64) -> EventData {
    let price = schemas::usage::Price {
        input: "0.2".parse().unwrap(),
        cached_input: "0.02".parse().unwrap(),
        output: "0.3".parse().unwrap(),
    };
    usage_v2(price, tokens(count, 0, 0))
}

/// On the backpack since `anchor`, with 100 USD paid before.
fn subscribed(anchor: &str, utc_offset_minutes: i16) -> (Saga, BillingAnchor, Period) {
    let anchor = BillingAnchor { at: at(anchor), utc_offset_minutes };
    let first = period::holding(&anchor, anchor.at).unwrap();
    let mut saga = Saga::of(&[open(), pay(1, 1, usd("100"), None)]);
    let mut started = start(backpack(), first, 100, None);
    if let EventData::SubscriptionStarted(data) = &mut started {
        data.anchor = anchor;
    }
    saga.posts_at(anchor.at, started);
    (saga, anchor, first)
}

fn tokens_and_balance(saga: &Saga) -> (u64, String) {
    (saga.state().plan_tokens(), saga.state().balance().unwrap().to_string())
}

/// Whatever the calendar: 30 M of 100 M used, 70 M roll over, and lapse one period later.
#[test]
fn rollover_is_the_same_on_every_calendar() {
    let check = |start: &str, utc_offset_minutes, ends: [&str; 3]| {
        let (mut saga, anchor, first) = subscribed(start, utc_offset_minutes);
        assert_eq!(first.end, at(ends[0]));
        saga.posts_at(first.start, prompt(30_000_000));
        assert_eq!(tokens_and_balance(&saga), (70_000_000, "85".into()));

        let second = period::next(&anchor, first).unwrap();
        assert_eq!(second.end, at(ends[1]));
        let renewal = saga.posts_at(first.end, renew(first, backpack(), second, 101, None));
        assert_eq!(closed(&renewal), ("0".into(), 70_000_000, 0));
        assert_eq!(tokens_and_balance(&saga), (170_000_000, "70".into()));

        // 20 M of the 70 M that rolled over, and none of the period's own: 50 M lapse, 100 M roll over.
        saga.posts_at(second.start, prompt(20_000_000));
        let third = period::next(&anchor, second).unwrap();
        assert_eq!(third.end, at(ends[2]));
        let renewal = saga.posts_at(second.end, renew(second, backpack(), third, 102, None));
        assert_eq!(closed(&renewal), ("0".into(), 100_000_000, 50_000_000));
        assert_eq!(tokens_and_balance(&saga), (200_000_000, "55".into()));
        let revenue = LedgerAccount::PlanRevenue("backpack".into());
        assert_eq!(saga.memory.book(&revenue).to_string(), "-30");
    };
    check("2027-01-31T00:00:00Z", 0, ["2027-02-28T00:00:00Z", "2027-03-31T00:00:00Z", "2027-04-30T00:00:00Z"]);
    check("2028-01-31T00:00:00Z", 0, ["2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z", "2028-04-30T00:00:00Z"]);
    check("2028-01-29T12:00:00Z", 0, ["2028-02-29T12:00:00Z", "2028-03-29T12:00:00Z", "2028-04-29T12:00:00Z"]);
    check(
        "2026-11-30T23:59:59.999999Z",
        0,
        ["2026-12-30T23:59:59.999999Z", "2027-01-30T23:59:59.999999Z", "2027-02-28T23:59:59.999999Z"],
    );
    // January 31st begins in Kiribati while it is the 30th in UTC, and at -14 h when it is the 31st, 14:00, in UTC.
    check("2027-01-30T10:00:00Z", 840, ["2027-02-27T10:00:00Z", "2027-03-30T10:00:00Z", "2027-04-29T10:00:00Z"]);
    check("2027-01-31T14:00:00Z", -840, ["2027-02-28T14:00:00Z", "2027-03-31T14:00:00Z", "2027-04-30T14:00:00Z"]);
    check("2027-02-01T13:00:00Z", -840, ["2027-03-01T13:00:00Z", "2027-04-01T13:00:00Z", "2027-05-01T13:00:00Z"]);
}

/// Clocks an hour off on either side of the period's end change nothing: the order of the log decides.
#[test]
fn skewed_clocks_do_not_matter() {
    let run = |skew_of_gateway: i64, skew_of_ledger: i64| {
        let (mut saga, anchor, first) = subscribed("2027-01-31T00:00:00Z", 0);
        let second = period::next(&anchor, first).unwrap();
        let by = |at: Timestamp, skew: i64| micros(at.as_micros() + skew);
        saga.posts_at(by(first.end, skew_of_gateway), prompt(30_000_000));
        saga.posts_at(by(first.end, skew_of_ledger), renew(first, backpack(), second, 101, None));
        saga.posts_at(by(first.end, skew_of_gateway), prompt(80_000_000));
        saga
    };
    let expected = (90_000_000, "70".to_owned());
    let exact = run(0, 0);
    assert_eq!(tokens_and_balance(&exact), expected);
    for (gateway, ledger) in [(HOUR, 0), (-HOUR, 0), (0, HOUR), (0, -HOUR), (HOUR, -HOUR), (-HOUR, HOUR)] {
        let skewed = run(gateway, ledger);
        assert_eq!(skewed.state(), exact.state());
        assert_eq!(skewed.memory.books, exact.memory.books);
    }
}

/// Usage of January that arrives in March draws on March, and the periods before stay as they were closed.
#[test]
fn what_arrives_after_its_period_goes_to_the_open_one() {
    let (mut saga, anchor, first) = subscribed("2027-01-31T00:00:00Z", 0);
    let second = period::next(&anchor, first).unwrap();
    let third = period::next(&anchor, second).unwrap();
    saga.posts_at(first.end, renew(first, backpack(), second, 101, None));
    saga.posts_at(second.end, renew(second, backpack(), third, 102, None));
    assert_eq!(tokens_and_balance(&saga), (200_000_000, "55".into()));
    let late = saga.posts_at(first.start, prompt(150_000_000));
    assert_eq!((late.amount.to_string(), late.transfers.len()), ("0".into(), 2));
    assert_eq!(tokens_and_balance(&saga), (50_000_000, "55".into()));
    let lots = &saga.state().subscription.as_ref().unwrap().tokens;
    assert_eq!(lots.iter().map(|lot| (lot.id, lot.rolled_over)).collect::<Vec<_>>(), [(lot_id(102), false)]);
    // And where tokens run out, at list price: 60 M of them, 10 M beyond the plan.
    let late = saga.posts_at(first.start, prompt(60_000_000));
    assert_eq!((late.amount.to_string(), tokens_and_balance(&saga)), ("-2".into(), (0, "53".into())));
}

/// Two renewals, each delivered twice, in any order: two periods, and not one token or cent more.
#[test]
fn renewals_delivered_twice_count_once() {
    let (mut saga, anchor, first) = subscribed("2027-01-31T00:00:00Z", 0);
    let second = period::next(&anchor, first).unwrap();
    let third = period::next(&anchor, second).unwrap();
    let renewals = [
        event(1, first.end, renew(first, backpack(), second, 101, None)),
        event(2, second.end, renew(second, backpack(), third, 102, None)),
    ];
    assert!(matches!(saga.deliver(&renewals[0]), Outcome::Applied(_)));
    assert_eq!(saga.deliver(&renewals[0]), Outcome::Duplicate);
    assert!(matches!(saga.deliver(&renewals[1]), Outcome::Applied(_)));
    assert_eq!(saga.deliver(&renewals[0]), Outcome::Duplicate);
    assert_eq!(saga.deliver(&renewals[1]), Outcome::Duplicate);
    assert_eq!(tokens_and_balance(&saga), (200_000_000, "55".into()));
    // The same renewal under another id: its period is closed already.
    let twin = event(3, second.end, renew(second, backpack(), third, 103, None));
    let Outcome::Quarantined(reason) = saga.deliver(&twin) else { panic!("it posted") };
    assert_eq!(reason.code(), "other_period");
    assert_eq!(tokens_and_balance(&saga), (200_000_000, "55".into()));
}

/// January 31st to February 28th has 28 days: 2,419,200 seconds.
#[test]
fn upgrades_give_back_what_is_unused() {
    let check = |when: &str, used: u64, back: &str, balance: &str, carried: u64, lapsed: u64| {
        let (mut saga, _, first) = subscribed("2027-01-31T00:00:00Z", 0);
        saga.posts_at(first.start, prompt(used));
        let moment = at(when);
        let anchor = anchor(moment);
        let next = period::holding(&anchor, moment).unwrap();
        let upgrade = change_at_once(switch(first, unused(usd("15"), 9), launch(), next, 101));
        let posting = saga.posts_at(moment, upgrade);
        assert_eq!(closed(&posting), (back.into(), carried, lapsed), "{when}");
        let expected = (500_000_000 + carried, balance.into());
        assert_eq!(tokens_and_balance(&saga), expected, "{when}");
        assert_eq!(saga.memory.book(&LedgerAccount::DeferredPlanRevenue(account_id(1))).to_string(), "-65");
        let kept = usd("15").checked_sub(usd(back)).unwrap();
        assert_eq!(-saga.memory.book(&LedgerAccount::PlanRevenue("backpack".into())), kept.as_decimal());
        // What carried over is gone one period later, but for what the new plan's cap lets through.
        let after = period::next(&anchor, next).unwrap();
        let renewal = saga.posts_at(next.end, renew(next, launch(), after, 102, None));
        assert_eq!(closed(&renewal), ("0".into(), 500_000_000, carried));
    };
    // At once: all of it comes back, and its tokens go. 100 - 15 + 15 - 65.
    check("2027-01-31T00:00:00Z", 0, "15", "35", 0, 100_000_000);
    // Half way, with 10 M used: half of the price, half of the tokens; the other 40 M stay.
    check("2027-02-14T00:00:00Z", 10_000_000, "7.5", "27.5", 40_000_000, 50_000_000);
    // Half way, with 80 M used: no more comes back than what is left of the tokens.
    check("2027-02-14T00:00:00Z", 80_000_000, "3", "23", 0, 20_000_000);
    check("2027-01-31T00:00:01Z", 100_000_000, "0", "20", 0, 0);
    // On the last second: 15 / 2,419,200, rounded down at the twelfth decimal, and 41 of 100 M tokens with it.
    check("2027-02-27T23:59:59Z", 0, "0.000006200396", "20.000006200396", 99_999_959, 41);
    check("2027-02-27T23:59:59.999999Z", 0, "0.000000000006", "20.000000000006", 100_000_000, 0);
    // At the end and after it: nothing of the price, and all tokens carry over.
    check("2027-02-28T00:00:00Z", 1_000_000, "0", "20", 99_000_000, 0);
    check("2027-02-28T01:00:00Z", 1_000_000, "0", "20", 99_000_000, 0);
    // An hour before it began, by a skewed clock.
    check("2027-01-30T23:00:00Z", 0, "15", "35", 0, 100_000_000);
}

/// Two upgrades in one month, with tokens that rolled over before: all that is not credited stays, up to the cap.
#[test]
fn what_rolled_over_survives_an_upgrade() {
    let (mut saga, anchor_of_first, first) = subscribed("2027-01-31T00:00:00Z", 0);
    let second = period::next(&anchor_of_first, first).unwrap();
    saga.posts_at(first.end, renew(first, backpack(), second, 101, None));
    assert_eq!(tokens_and_balance(&saga), (200_000_000, "70".into()));
    // On the second's last microsecond nothing of note comes back; 200 M are there, and the cap lets 100 M through.
    let moment = micros(second.end.as_micros() - 1);
    let next = period::holding(&anchor(moment), moment).unwrap();
    let upgrade = change_at_once(switch(second, unused(usd("15"), 9), launch(), next, 102));
    let posting = saga.posts_at(moment, upgrade);
    assert_eq!(closed(&posting), ("0.000000000005".into(), 100_000_000, 100_000_000));
    assert_eq!(tokens_and_balance(&saga), (600_000_000, "5.000000000005".into()));
}

/// A downgrade waits for the period's end; tokens roll over by the terms of the plan that ends.
#[test]
fn a_downgrade_comes_with_the_renewal() {
    let first = Period { start: at("2027-01-31T00:00:00Z"), end: at("2027-02-28T00:00:00Z") };
    let mut saga = Saga::of(&[open(), pay(1, 1, usd("100"), None), start(launch(), first, 100, None)]);
    saga.posts_at(first.start, change(schemas::event::SubscriptionChange::AtPeriodEnd(backpack())));
    saga.posts_at(first.start, prompt(50_000_000));
    assert_eq!(saga.state().plan.id, "launch");
    let second = Period { start: first.end, end: at("2027-03-31T00:00:00Z") };
    let renewal = saga.posts_at(first.end, renew(first, backpack(), second, 101, None));
    assert_eq!(closed(&renewal), ("0".into(), 450_000_000, 0));
    assert_eq!(tokens_and_balance(&saga), (550_000_000, "20".into()));
    assert_eq!((saga.state().plan.id.as_str(), saga.state().plan.max_keys), ("backpack", Some(2)));
}

/// Past due, in grace: the period stays open and usable. Paid late, the next period still starts where it ended.
#[test]
fn a_late_payment_leaves_no_gap() {
    let (mut saga, anchor, first) = subscribed("2027-01-31T00:00:00Z", 0);
    let second = period::next(&anchor, first).unwrap();
    saga.posts_at(first.end, fail(2, usd("15")));
    saga.posts_at(first.end, past_due(first, at("2027-03-07T00:00:00Z")));
    saga.posts_at(at("2027-03-02T00:00:00Z"), prompt(40_000_000));
    assert_eq!(tokens_and_balance(&saga), (60_000_000, "85".into()));
    saga.posts_at(at("2027-03-05T00:00:00Z"), pay(2, 2, usd("15"), None));
    let renewal = saga.posts_at(at("2027-03-05T00:00:00Z"), renew(first, backpack(), second, 101, Some(2)));
    assert_eq!(closed(&renewal), ("0".into(), 60_000_000, 0));
    assert_eq!(tokens_and_balance(&saga), (160_000_000, "85".into()));
    let live = saga.state().subscription.as_ref().unwrap();
    assert_eq!((live.period, live.standing), (second, schemas::api::Standing::Active));
    // The payment made for it paid for it, and is spent; the other one is as it was.
    let lots: Vec<_> = saga.state().lots.iter().map(|lot| (lot.id, lot.remaining)).collect();
    assert_eq!(lots, [(lot_id(1), usd("85"))]);
}

/// Not paid within grace: the end takes the plan and its tokens, and nothing else.
#[test]
fn after_grace_it_ends() {
    let (mut saga, _, first) = subscribed("2027-01-31T00:00:00Z", 0);
    saga.posts_at(first.end, past_due(first, at("2027-03-07T00:00:00Z")));
    let end = saga.posts_at(at("2027-03-07T00:00:00Z"), cancel(first, at("2027-03-07T00:00:00Z"), None));
    assert_eq!(closed(&end), ("0".into(), 0, 100_000_000));
    assert_eq!(tokens_and_balance(&saga), (0, "85".into()));
    let late = saga.posts_at(first.start, prompt(1_000_000));
    assert_eq!((late.amount.to_string(), saga.state().plan.id.as_str()), ("-0.2".into(), "free"));
}

/// A refill never cuts: a plan whose cap is below what is left keeps the cap, and adds its quota.
#[test]
fn the_cap_bounds_what_carries_over() {
    let capped = plan("capped", "15", 100_000_000, 30_000_000);
    let first = Period { start: at("2027-01-01T00:00:00Z"), end: at("2027-02-01T00:00:00Z") };
    let second = Period { start: first.end, end: at("2027-03-01T00:00:00Z") };
    let check = |used, carried, lapsed| {
        let mut saga = Saga::of(&[open(), start(capped.clone(), first, 100, None)]);
        saga.posts_at(first.start, prompt(used));
        let renewal = saga.posts_at(first.end, renew(first, capped.clone(), second, 101, None));
        assert_eq!(closed(&renewal), ("0".into(), carried, lapsed), "{used}");
        assert_eq!(tokens_and_balance(&saga), (100_000_000 + carried, "-30".into()));
    };
    check(0, 30_000_000, 70_000_000);
    check(69_999_999, 30_000_000, 1);
    check(70_000_000, 30_000_000, 0);
    check(70_000_001, 29_999_999, 0);
    check(100_000_000, 0, 0);
}
