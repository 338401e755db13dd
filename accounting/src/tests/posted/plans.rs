//! Subscriptions and invoices.

use schemas::Event;
use schemas::api::{AtPeriodEnd, Standing};
use schemas::event::SubscriptionChange;

use super::super::events::*;
use super::super::memory::Memory;
use super::super::saga::Saga;
use super::{CREDIT, DEBT, SEEN, check, schema_of};
use crate::{IssuedInvoice, Outcome};

pub(super) fn subscriptions() {
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
pub(super) fn invoices() {
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
