//! Accounts, keys and credit.

use schemas::api::AccountStatus;

use super::super::events::*;
use super::super::keys;
use super::super::saga::Saga;
use super::{CREDIT, DEBT, check};

pub(super) fn accounts_and_keys() {
    let status = |saga: &Saga| (saga.state().status(), saga.state().keys.len());
    check(&[], open(), &[], "0", "0");
    check(&[open()], key(1), &[], "0", "0");
    let renamed = check(&[open(), key(1)], rename_key(1, "laptop"), &[], "0", "0");
    assert_eq!(renamed.state().keys[&key_id(1)].name, "laptop");
    let revoked = check(&[open(), key(1), key(2)], revoke_key(1), &[], "0", "0");
    assert_eq!(revoked.state().keys.keys().collect::<Vec<_>>(), [&key_id(2)]);
    check(&[open(), key(1), revoke_key(1)], key(1), &[], "0", "0");
    let limits = || keys::dollars_a_day(Some(usd("5")));
    let limited = check(&[open()], keys::issued(limits()), &[], "0", "0");
    assert_eq!(limited.state().keys[&key_id(1)].limits, limits());
    let limited = check(&[open(), key(1)], keys::updated(limits()), &[], "0", "0");
    assert_eq!(limited.state().keys[&key_id(1)].limits, limits());

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

pub(super) fn credit() {
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
