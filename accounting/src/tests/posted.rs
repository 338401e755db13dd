//! What every event type posts, by table.

use std::cell::RefCell;
use std::collections::BTreeSet;

use schemas::api::{AccountStatus, AtPeriodEnd, Standing};
use schemas::event::SubscriptionChange;
use schemas::{Event, EventData};

use super::events::*;
use super::memory::Memory;
use super::saga::Saga;
use crate::{Commodity, IssuedInvoice, Outcome};

/// Accounts as they are shown here: without the customer they belong to.
fn short(transfers: &[crate::Transfer]) -> Vec<String> {
    let name = |account: &crate::LedgerAccount| account.to_string().replace(&format!(":{}", account_id(1)), "");
    let show = |t: &crate::Transfer| {
        format!("{} > {} {} {}", name(&t.credit), name(&t.debit), t.amount.as_decimal(), t.code.as_str())
    };
    transfers.iter().map(show).collect()
}

thread_local! {
    static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// After `history`, `last` posts these transfers (`from > to amount code`), this change of the balance and this balance.
#[track_caller]
fn check(history: &[EventData], last: EventData, transfers: &[&str], amount: &str, balance: &str) -> Saga {
    let mut saga = Saga::of(history);
    SEEN.with_borrow_mut(|seen| seen.insert(schema_of(&last)));
    let posting = saga.posts(last);
    assert_eq!(short(&posting.transfers), transfers);
    assert_eq!((posting.amount.to_string().as_str(), posting.balance.to_string().as_str()), (amount, balance));
    assert_eq!(saga.state().balance().unwrap(), posting.balance);
    assert_eq!(saga.state().version.0, history.len() as u64);
    let concerns_value = posting.transfers.iter().any(|_| true);
    assert!(posting.detail.is_some() || !concerns_value);
    saga
}

fn schema_of(data: &EventData) -> String {
    let record = event(1, micros(1), data.clone()).encode().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    record["dataschema"].as_str().unwrap().replace("urn:modelhub:schema:", "").replace(":v", ".v")
}

const CREDIT: &str = "liability:customer-credit";
const DEBT: &str = "asset:customer-debt";

#[test]
fn every_event_type_posts_what_it_should() {
    accounts_and_keys();
    credit();
    usage_of_credit();
    usage_of_plan_tokens();
    corrections();
    payments();
    disputes();
    subscriptions();
    invoices();
    let every: BTreeSet<String> =
        schemas::json_schema::all().into_iter().map(|(name, _)| name.replace(".json", "")).collect();
    SEEN.with_borrow(|seen| assert_eq!(*seen, every));
}

fn accounts_and_keys() {
    let status = |saga: &Saga| (saga.state().status(), saga.state().keys.len());
    check(&[], open(), &[], "0", "0");
    check(&[open()], key(1), &[], "0", "0");
    let renamed = check(&[open(), key(1)], rename_key(1, "laptop"), &[], "0", "0");
    assert_eq!(renamed.state().keys[&key_id(1)].name, "laptop");
    let revoked = check(&[open(), key(1), key(2)], revoke_key(1), &[], "0", "0");
    assert_eq!(revoked.state().keys.keys().collect::<Vec<_>>(), [&key_id(2)]);
    check(&[open(), key(1), revoke_key(1)], key(1), &[], "0", "0");

    let suspended = check(&[open(), key(1)], suspend(), &[], "0", "0");
    assert_eq!(status(&suspended), (AccountStatus::Suspended, 1));
    check(&[open(), suspend()], suspend(), &[], "0", "0");
    let reinstated = check(&[open(), suspend()], reinstate(), &[], "0", "0");
    assert_eq!(status(&reinstated), (AccountStatus::Active, 0));
    check(&[open()], reinstate(), &[], "0", "0");
    let closed = check(&[open(), key(1), grant(1, usd("5"), 1), suspend()], close(), &[], "0", "5");
    assert_eq!(status(&closed), (AccountStatus::Closed, 0));
    // What is under way when an account is closed still counts.
    let late = ["revenue:usage:m > liability:customer-credit 2 usage"];
    check(&[open(), grant(1, usd("5"), 1), close()], usage(2), &late, "-2", "3");
}

fn credit() {
    check(&[open()], grant(1, usd("5"), 1), &["liability:customer-credit > expense:promotion 5 grant"], "5", "5");
    let until = check(
        &[open()],
        grant_until(1, usd("5"), 1, Some(micros(9))),
        &["liability:customer-credit > expense:promotion 5 grant"],
        "5",
        "5",
    );
    assert_eq!(until.state().lots[0].expires_at, Some(micros(9)));
    let settles = |debt| {
        [
            "liability:customer-credit > expense:promotion 5 grant".to_owned(),
            format!("{DEBT} > {CREDIT} {debt} debt_settled"),
        ]
    };
    check(&[open(), usage(2)], grant(1, usd("5"), 1), &settles(2).each_ref().map(String::as_str), "5", "3");
    let drowned =
        check(&[open(), usage(7)], grant(1, usd("5"), 1), &settles(5).each_ref().map(String::as_str), "5", "-2");
    assert_eq!((drowned.state().debt, drowned.state().lots.len()), (usd("2"), 0));

    check(&[open()], give(1, usd("5")), &["liability:customer-credit > expense:adjustment 5 adjustment"], "5", "5");
    check(
        &[open(), grant(1, usd("5"), 1), grant(2, usd("5"), 2)],
        take(Some(2), usd("6")),
        &[
            "expense:adjustment > liability:customer-credit 5 adjustment",
            "expense:adjustment > liability:customer-credit 1 adjustment",
        ],
        "-6",
        "4",
    );
    check(
        &[open(), grant(1, usd("5"), 1)],
        take(None, usd("6")),
        &[
            "expense:adjustment > liability:customer-credit 5 adjustment",
            "expense:adjustment > asset:customer-debt 1 adjustment",
        ],
        "-6",
        "-1",
    );
    let lapsing = grant_until(1, usd("5"), 1, Some(micros(1)));
    let expired = ["expense:promotion > liability:customer-credit 3 credit_expired"];
    check(&[open(), lapsing.clone(), usage(2)], expire(1), &expired, "-3", "0");
    check(&[open(), lapsing, usage(5)], expire(1), &[], "0", "0");
}

fn usage_of_credit() {
    let history = [open(), grant(1, usd("5"), 1)];
    check(&history, usage(2), &["revenue:usage:m > liability:customer-credit 2 usage"], "-2", "3");
    check(&history, usage(0), &[], "0", "5");
    check(
        &history,
        usage_v2(dollar_price(), tokens(0, 0, 2)),
        &["revenue:usage:m > liability:customer-credit 2 usage"],
        "-2",
        "3",
    );
    check(
        &history,
        usage(7),
        &[
            "revenue:usage:m > liability:customer-credit 5 usage",
            "revenue:usage:m > asset:customer-debt 2 usage_on_debt",
        ],
        "-7",
        "-2",
    );
    // Priority, then expiry, then age: lot 4, then 3, 2 and 1 of the same priority, then 5.
    let lots = [
        open(),
        grant(1, usd("1"), 2),
        grant_until(2, usd("2"), 2, Some(micros(9))),
        grant_until(3, usd("3"), 2, Some(micros(8))),
        grant(4, usd("4"), 1),
        grant(5, usd("5"), 2),
    ];
    let used = ["4 usage", "3 usage", "2 usage", "1 usage", "2 usage"];
    let used = used.map(|draw| format!("revenue:usage:m > liability:customer-credit {draw}"));
    let saga = check(&lots, usage(12), &used.each_ref().map(String::as_str), "-12", "3");
    assert_eq!(saga.state().lots.iter().map(|lot| lot.id).collect::<Vec<_>>(), [lot_id(5)]);
}

fn usage_of_plan_tokens() {
    let base = [open(), grant(1, usd("20"), 1), start(plan("p", "10", 10, 10), period(0, 1000), 7, None)];
    // Ten plan tokens: seven prompt tokens, then three of four completion tokens; the last one costs two cents.
    let saga = check(
        &base,
        usage_v2(cents_price(), tokens(7, 3, 4)),
        &["revenue:usage:m > liability:customer-credit 0.02 usage", "tokens:used:m > tokens:held 10 tokens_used"],
        "-0.02",
        "9.98",
    );
    assert_eq!(saga.state().plan_tokens(), 0);
    // What the plan covers moves no money, but stands on the statement.
    let covered = ["tokens:used:m > tokens:held 3 tokens_used"];
    check(&base, usage_v2(cents_price(), tokens(1, 0, 2)), &covered, "0", "10");
    // Two uncached prompt tokens are covered before the cached one, which costs one cent.
    let mut history = base.to_vec();
    history.push(usage_v2(cents_price(), tokens(8, 0, 0)));
    check(
        &history,
        usage_v2(cents_price(), tokens(3, 1, 0)),
        &["revenue:usage:m > liability:customer-credit 0.01 usage", "tokens:used:m > tokens:held 2 tokens_used"],
        "-0.01",
        "9.99",
    );
    // What rolled over goes first.
    history.push(renew(period(0, 1000), plan("p", "10", 10, 10), period(1000, 2000), 8, None));
    let saga = check(
        &history,
        usage_v2(cents_price(), tokens(5, 0, 0)),
        &["tokens:used:m > tokens:held 2 tokens_used", "tokens:used:m > tokens:held 3 tokens_used"],
        "0",
        "0",
    );
    let lots = &saga.state().subscription.as_ref().unwrap().tokens;
    assert_eq!(lots.iter().map(|lot| (lot.id, lot.remaining)).collect::<Vec<_>>(), [(lot_id(8), 7)]);
}

fn corrections() {
    let price = cents_price();
    let recorded = charge(tokens(10, 0, 5), 0, usd("0.40"));
    let base = [open(), grant(1, usd("1"), 1), usage_v2(price, recorded.tokens)];
    let back = ["liability:customer-credit > revenue:usage:m 0.22 usage_corrected"];
    let saga = check(&base, correct(103, price, recorded, tokens(10, 10, 4), 2), &back, "0.22", "0.82");
    assert_eq!(saga.state().corrections[&event_id(103)].charge, charge(tokens(10, 10, 4), 0, usd("0.18")));
    let more = ["revenue:usage:m > liability:customer-credit 0.02 usage_corrected"];
    check(&base, correct(103, price, recorded, tokens(10, 0, 6), 2), &more, "-0.02", "0.58");
    check(&base, correct(103, price, recorded, recorded.tokens, 2), &[], "0", "0.6");

    // Twelve of fifteen tokens by the plan. Eight would have been right: four come back, and the six cents.
    let base = [
        open(),
        grant(1, usd("11"), 1),
        start(plan("p", "10", 12, 0), period(0, 1000), 7, None),
        usage_v2(price, recorded.tokens),
    ];
    let recorded = charge(recorded.tokens, 12, usd("0.06"));
    let saga = check(
        &base,
        correct(104, price, recorded, tokens(5, 0, 3), 2),
        &[
            "tokens:held > tokens:used:m 4 tokens_returned",
            "liability:customer-credit > revenue:usage:m 0.06 usage_corrected",
        ],
        "0.06",
        "1",
    );
    assert_eq!(saga.state().plan_tokens(), 4);
    // Of sixteen, the one that is missing is charged: the plan has none left.
    let more = ["revenue:usage:m > liability:customer-credit 0.02 usage_corrected"];
    check(&base, correct(104, price, recorded, tokens(10, 0, 6), 2), &more, "-0.02", "0.92");
    // Once the period is over, tokens have nowhere to come back to.
    let mut over = base.to_vec();
    over.push(cancel(period(0, 1000), micros(1000), None));
    let only_money = ["liability:customer-credit > revenue:usage:m 0.06 usage_corrected"];
    check(&over, correct(104, price, recorded, tokens(5, 0, 3), 2), &only_money, "0.06", "1");
    // Tokens that are missing come from the open period, if it has any.
    let mut renewed = base.to_vec();
    renewed.push(renew(period(0, 1000), plan("p", "0", 12, 0), period(1000, 2000), 8, None));
    let by_plan = ["tokens:used:m > tokens:held 1 tokens_used"];
    let saga = check(&renewed, correct(104, price, recorded, tokens(10, 0, 6), 2), &by_plan, "0", "0.94");
    assert_eq!(saga.state().plan_tokens(), 11);
    returned_tokens();
}

/// Tokens that come back are the open period's own up to its quota. Those beyond it are as if they had rolled over, so
/// they make no money of a price that did not buy them.
fn returned_tokens() {
    let (first, price) = (period(0, 1000), cents_price());
    let all = charge(tokens(1000, 0, 0), 1000, usd("0"));
    let p = plan("p", "10", 1000, 1000);
    let mut history = vec![
        open(),
        pay(1, 1, usd("40"), None),
        start(p.clone(), first, 7, None),
        renew(first, p.clone(), period(1000, 2000), 8, None),
        usage_v2(price, tokens(1000, 0, 0)),
        usage_v2(price, tokens(600, 0, 0)),
    ];
    // What rolled over was used by mistake, then 600 of the 1,000 own tokens.
    let back = ["tokens:held > tokens:used:m 600 tokens_returned", "tokens:held > tokens:used:m 400 tokens_returned"];
    history.push(correct(105, price, all, tokens(0, 0, 0), 9));
    let correction = history.pop().unwrap();
    let saga = check(&history, correction.clone(), &back, "0", "20");
    let lots = &saga.state().subscription.as_ref().unwrap().tokens;
    let shown: Vec<_> = lots.iter().map(|lot| (lot.granted, lot.remaining, lot.rolled_over)).collect();
    assert_eq!(shown, [(400, 400, true), (1000, 1000, false)]);
    // An upgrade at half time: half of the price, half of the quota, and none of what is beyond it.
    history.push(correction);
    let upgrade =
        switch(period(1000, 2000), unused(usd("10"), 10), plan("q", "20", 5000, 5000), period(1500, 2500), 11);
    let upgraded = [
        format!("{CREDIT} > liability:deferred-plan-revenue 5 plan_unused"),
        "revenue:plan:p > liability:deferred-plan-revenue 5 plan_earned".to_owned(),
        "tokens:lapsed:p > tokens:held 500 tokens_lapsed".to_owned(),
        format!("liability:deferred-plan-revenue > {CREDIT} 20 plan_price"),
        "tokens:held > tokens:issued:q 5000 tokens_granted".to_owned(),
    ];
    let saga = check(&history, change_at_once(upgrade), &upgraded.each_ref().map(String::as_str), "-15", "5");
    assert_eq!(saga.state().plan_tokens(), 5900);

    // None of its own are left: they come into a lot of their own; and a plan by time alone has no quota to fill.
    let used_up = [
        open(),
        start(plan("p", "0", 10, 10), first, 7, None),
        usage_v2(price, tokens(10, 0, 0)),
        correct(103, price, charge(tokens(10, 0, 0), 10, usd("0")), tokens(4, 0, 0), 9),
    ];
    let saga = Saga::of(&used_up);
    let lots = &saga.state().subscription.as_ref().unwrap().tokens;
    let shown: Vec<_> = lots.iter().map(|lot| (lot.id, lot.granted, lot.remaining, lot.rolled_over)).collect();
    assert_eq!(shown, [(lot_id(9), 10, 6, false)]);
    let flat = [
        open(),
        start(plan("p", "0", 10, 10), first, 7, None),
        usage_v2(price, tokens(10, 0, 0)),
        renew(first, plan("flat", "0", 0, 0), period(1000, 2000), 8, None),
        correct(103, price, charge(tokens(10, 0, 0), 10, usd("0")), tokens(4, 0, 0), 9),
    ];
    let saga = Saga::of(&flat);
    let lots = &saga.state().subscription.as_ref().unwrap().tokens;
    let shown: Vec<_> = lots.iter().map(|lot| (lot.granted, lot.remaining, lot.rolled_over)).collect();
    assert_eq!(shown, [(6, 6, true)]);
}

fn payments() {
    let paid = "liability:customer-credit > asset:processor-clearing:p 20 payment";
    let saga = check(&[open()], pay(1, 1, usd("20"), None), &[paid], "20", "20");
    assert!(saga.state().paid);
    let fee = "asset:processor-clearing:p > expense:processor-fees:p 0.88 processor_fee";
    check(&[open()], pay(1, 1, usd("20"), Some(usd("0.88"))), &[paid, fee], "20", "20");
    let settled = "asset:customer-debt > liability:customer-credit 3 debt_settled";
    check(&[open(), usage(3)], pay(1, 1, usd("20"), None), &[paid, settled], "20", "17");
    let saga = check(&[open()], fail(1, usd("20")), &[], "0", "0");
    assert!(!saga.state().paid);

    let out = |amount: &str| format!("asset:processor-clearing:p > clearing:refunds:p {amount} refund");
    let from = |what: &str, amount: &str| format!("clearing:refunds:p > {what} {amount} refund");
    let mut history = vec![open(), pay(1, 1, usd("20"), None)];
    check(&history, refund(1, "p", usd("20")), &[&from(CREDIT, "20"), &out("20")], "-20", "0");
    let saga = check(&history, refund(1, "p", usd("5.5")), &[&from(CREDIT, "5.5"), &out("5.5")], "-5.5", "14.5");
    assert_eq!(saga.state().payments[&payment_id(1)].left, usd("14.5"));
    // What was spent already becomes debt, which the next payment settles.
    history.push(usage(15));
    let refunded = [from(CREDIT, "5"), from(DEBT, "15"), out("20")];
    check(&history, refund(1, "p", usd("20")), &refunded.each_ref().map(String::as_str), "-20", "-15");
    // The payment's own lot goes first, then others.
    let history = [open(), grant(2, usd("4"), 1), pay(1, 1, usd("20"), None), usage(7)];
    let refunded = [from(CREDIT, "17"), out("17")];
    check(&history, refund(1, "p", usd("17")), &refunded.each_ref().map(String::as_str), "-17", "0");
    let history = [open(), pay(1, 1, usd("20"), None), usage(7), grant(2, usd("4"), 1)];
    let refunded = [from(CREDIT, "13"), from(CREDIT, "4"), from(DEBT, "3"), out("20")];
    check(&history, refund(1, "p", usd("20")), &refunded.each_ref().map(String::as_str), "-20", "-3");
}

fn disputes() {
    let held = "asset:processor-clearing:p > asset:disputed:p 20 dispute";
    let frozen = |amount: &str| format!("liability:frozen-credit > {CREDIT} {amount} credit_frozen");
    let paid = vec![open(), pay(1, 1, usd("20"), None)];
    let saga = check(&paid, dispute(1, 1, usd("20"), true), &[held, &frozen("20")], "-20", "0");
    assert_eq!((saga.state().status(), saga.state().frozen()), (AccountStatus::Suspended, Some(usd("20"))));
    let saga = check(&paid, dispute(1, 1, usd("20"), false), &[held, &frozen("20")], "-20", "0");
    assert_eq!(saga.state().status(), AccountStatus::Active);
    // Spent money can't be frozen; other credit is, as far as it goes.
    let mut spent = paid.clone();
    spent.extend([usage(15), grant(2, usd("1"), 1)]);
    check(&spent, dispute(1, 1, usd("20"), true), &[held, &frozen("5"), &frozen("1")], "-6", "0");
    spent.push(dispute(1, 1, usd("20"), true));

    // Won: everything is where it was.
    let returned = "asset:disputed:p > asset:processor-clearing:p 20 dispute";
    let released = |amount: &str| format!("{CREDIT} > liability:frozen-credit {amount} credit_released");
    let saga = check(&spent, decide(1, 1, true, true), &[returned, &released("5"), &released("1")], "6", "6");
    assert_eq!((saga.state().status(), saga.state().frozen()), (AccountStatus::Active, Some(usd("0"))));
    assert_eq!(saga.state().payments[&payment_id(1)].left, usd("20"));
    assert_eq!(saga.state().lots[0].id, lot_id(2));
    // A debt that came up meanwhile is settled first.
    let mut in_debt = spent.clone();
    in_debt.push(usage(2));
    let settled = format!("{DEBT} > {CREDIT} 2 debt_settled");
    check(&in_debt, decide(1, 1, true, true), &[returned, &released("5"), &settled, &released("1")], "6", "4");

    // Lost: what was frozen pays, then other credit, then it is debt; the account stays suspended if the rule says so.
    let lost = |from: &str, amount: &str| format!("asset:disputed:p > {from} {amount} dispute_lost");
    let pays = [lost("liability:frozen-credit", "5"), lost("liability:frozen-credit", "1"), lost(DEBT, "14")];
    let saga = check(&spent, decide(1, 1, false, false), &pays.each_ref().map(String::as_str), "-14", "-14");
    assert_eq!((saga.state().status(), saga.state().frozen()), (AccountStatus::Suspended, Some(usd("0"))));
    assert_eq!(saga.state().payments[&payment_id(1)].left, usd("0"));
    spent.push(pay(2, 3, usd("10"), None));
    let pays = [
        lost("liability:frozen-credit", "5"),
        lost("liability:frozen-credit", "1"),
        lost(CREDIT, "10"),
        lost(DEBT, "4"),
    ];
    let saga = check(&spent, decide(1, 1, false, true), &pays.each_ref().map(String::as_str), "-14", "-4");
    assert_eq!(saga.state().status(), AccountStatus::Active);
    // A part that is frozen joins the rest of its lot again.
    let mut part = paid.clone();
    part.push(dispute(1, 1, usd("8"), false));
    let saga = check(
        &part,
        decide(1, 1, true, false),
        &["asset:disputed:p > asset:processor-clearing:p 8 dispute", &released("8")],
        "8",
        "20",
    );
    assert_eq!((saga.state().lots.len(), saga.state().lots[0].remaining), (1, usd("20")));
}

fn subscriptions() {
    let (small, large) = (plan("small", "10", 1000, 600), plan("large", "20", 5000, 5000));
    let first = period(0, 1000);
    let price = |from: &str, amount: &str| format!("liability:deferred-plan-revenue > {from} {amount} plan_price");
    let granted = |plan: &str, amount| format!("tokens:held > tokens:issued:{plan} {amount} tokens_granted");
    let lapsed = |plan: &str, amount| format!("tokens:lapsed:{plan} > tokens:held {amount} tokens_lapsed");
    let earned = |plan: &str, amount: &str| {
        format!("revenue:plan:{plan} > liability:deferred-plan-revenue {amount} plan_earned")
    };
    // The payment made for it pays first, though the grant is of a lower number.
    let paid = vec![open(), grant(1, usd("5"), 1), pay(1, 2, usd("10"), None)];
    let started = [price(CREDIT, "10"), granted("small", 1000)];
    let started = started.each_ref().map(String::as_str);
    let saga = check(&paid, start(small.clone(), first, 7, Some(1)), &started, "-10", "5");
    assert_eq!((saga.state().plan.id.as_str(), saga.state().lots[0].id), ("small", lot_id(1)));
    check(
        &paid,
        start(small.clone(), first, 7, None),
        &[&price(CREDIT, "5"), &price(CREDIT, "5"), started[1]],
        "-10",
        "5",
    );
    let unpaid = [price(CREDIT, "15"), price(DEBT, "5"), granted("large", 5000)];
    let mut rich = paid.clone();
    rich.remove(1);
    rich[1] = pay(1, 2, usd("15"), None);
    check(&rich, start(large.clone(), first, 7, None), &unpaid.each_ref().map(String::as_str), "-20", "-5");

    let mut running = paid.clone();
    running.extend([start(small.clone(), first, 7, Some(1)), pay(2, 3, usd("30"), None)]);
    let renewal = renew(first, small.clone(), period(1000, 2000), 8, Some(2));
    let renewed = [earned("small", "10"), lapsed("small", 400), price(CREDIT, "10"), granted("small", 1000)];
    let saga = check(&running, renewal, &renewed.each_ref().map(String::as_str), "-10", "25");
    assert_eq!(saga.state().plan_tokens(), 1600);

    for (decided, expected) in [
        (SubscriptionChange::AtPeriodEnd(large.clone()), AtPeriodEnd::Change { plan: "large".into() }),
        (SubscriptionChange::EndAtPeriodEnd, AtPeriodEnd::End),
        (SubscriptionChange::StayAsItIs, AtPeriodEnd::Renew),
    ] {
        let saga = check(&running, change(decided), &[], "0", "35");
        assert_eq!(saga.state().subscription.as_ref().unwrap().at_period_end, expected);
        assert_eq!(saga.state().plan.id, "small");
    }
    let upgrade = change_at_once(switch(first, unused(usd("10"), 9), large.clone(), period(400, 1400), 8));
    let upgraded = [
        format!("{CREDIT} > liability:deferred-plan-revenue 6 plan_unused"),
        earned("small", "4"),
        lapsed("small", 600),
        price(CREDIT, "5"),
        price(CREDIT, "15"),
        granted("large", 5000),
    ];
    let saga = check(&running, upgrade, &upgraded.each_ref().map(String::as_str), "-14", "21");
    assert_eq!((saga.state().plan_tokens(), saga.state().plan.id.as_str()), (5400, "large"));

    let saga = check(&running, past_due(first, micros(1500)), &[], "0", "35");
    let standing = Standing::PastDue { grace_until: micros(1500) };
    assert_eq!((saga.state().subscription.as_ref().unwrap().standing, saga.state().plan_tokens()), (standing, 1000));

    let ended = [earned("small", "10"), lapsed("small", 1000)];
    let ended = ended.each_ref().map(String::as_str);
    let saga = check(&running, cancel(first, micros(400), None), &ended, "0", "35");
    assert_eq!((saga.state().plan.id.as_str(), &saga.state().subscription), ("free", &None));
    let back = [
        format!("{CREDIT} > liability:deferred-plan-revenue 6 plan_unused"),
        earned("small", "4"),
        lapsed("small", 1000),
    ];
    let refunded = cancel(first, micros(400), Some(unused(usd("10"), 9)));
    check(&running, refunded, &back.each_ref().map(String::as_str), "6", "41");
}

/// Numbers are counted in the operator's stream; a range that is invoiced already uses none up.
fn invoices() {
    let mut memory = Memory::default();
    let mut take = |event: &Event| memory.take(0, &[event.encode().unwrap()]).remove(0).outcome;
    assert!(matches!(take(&event_of(OPERATOR, 1, micros(1), open())), Outcome::Applied(_)));
    for (account, after, through, number) in
        [(1, None, 9, Some(1)), (2, None, 7, Some(2)), (1, None, 12, None), (1, Some(9), 12, Some(3))]
    {
        let data = invoice(account, "1969-12", after, through);
        let issued = issue(data, micros(0));
        SEEN.with_borrow_mut(|seen| seen.insert(schema_of(&issued.data)));
        let expected = number.map(|number| IssuedInvoice { number, event: data });
        match (take(&issued), expected) {
            (Outcome::Applied(posting), Some(_)) => {
                assert_eq!((posting.invoice, posting.transfers, posting.detail), (expected, vec![], None));
                assert_eq!((posting.amount, posting.balance), (usd("0"), usd("0")));
            }
            (Outcome::Duplicate, None) => {}
            (other, _) => panic!("{other:?}: {data:?}"),
        }
    }
    let operator = &memory.accounts[&account_id(OPERATOR)];
    assert_eq!(operator.invoices_issued, 3);
    // Customers' documents are not longer for it.
    assert!(operator.to_document().unwrap().contains(r#""invoices_issued":3"#));
    let customer = Saga::of(&[open()]);
    assert!(!customer.state().to_document().unwrap().contains("invoices_issued"));
}

#[test]
fn limits_are_within() {
    let most = 1_000_000_000_000_000;
    for (quota, cap) in [(most, 0), (0, most)] {
        let saga = Saga::of(&[open(), start(plan("x", "0", quota, cap), period(0, 1000), 7, None)]);
        assert_eq!(saga.state().plan_tokens(), quota);
    }
    // Clocks may be a day off, and not a microsecond more (see `quarantined`).
    let day = 24 * 60 * 60 * 1_000_000;
    let small = plan("small", "10", 1000, 600);
    let long = period(0, day + 1);
    let begun = [open(), start(small.clone(), long, 7, None)];
    let renewal = renew(long, small.clone(), period(day + 1, 2 * day), 8, None);
    assert_eq!(Saga::of(&begun).posts_at(micros(1), renewal).amount, usd("-10"));
    let ended = cancel(long, micros(-day), Some(unused(usd("10"), 9)));
    assert_eq!(Saga::of(&begun).posts(ended).amount, usd("10"));
}

#[test]
fn commodities_have_their_names() {
    assert_eq!([Commodity::Usd, Commodity::PlanTokens].map(Commodity::as_str), ["USD", "PLAN_TOKENS"]);
}

#[test]
fn repeats_post_nothing() {
    let mut saga = Saga::of(&[open()]);
    let payment = event(7, micros(1), pay(1, 1, usd("20"), None));
    assert!(matches!(saga.deliver(&payment), Outcome::Applied(_)));
    let before = saga.memory.hash();
    for _ in 0..3 {
        assert_eq!(saga.deliver(&payment), Outcome::Duplicate);
    }
    assert_eq!(saga.memory.hash(), before);
}
