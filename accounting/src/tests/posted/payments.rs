//! Payments, refunds and disputes.

use schemas::api::AccountStatus;

use super::super::events::*;
use super::{CREDIT, DEBT, check};

pub(super) fn payments() {
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

pub(super) fn disputes() {
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
