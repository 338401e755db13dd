//! Usage and its corrections.

use super::super::events::*;
use super::super::saga::Saga;
use super::{CREDIT, check};

pub(super) fn usage_of_credit() {
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

pub(super) fn usage_of_plan_tokens() {
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
    // On a lease that set one plan token aside, it is one, however many there are.
    check(
        &base,
        on_lease(usage_v2(cents_price(), tokens(1, 0, 2))),
        &["revenue:usage:m > liability:customer-credit 0.04 usage", "tokens:used:m > tokens:held 1 tokens_used"],
        "-0.04",
        "9.96",
    );
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

pub(super) fn corrections() {
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
pub(super) fn returned_tokens() {
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
