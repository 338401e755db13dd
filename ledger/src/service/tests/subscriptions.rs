//! Starting, changing and ending subscriptions.

use schemas::api::{AtPeriodEnd, Balance, Command, Refusal, When};
use schemas::{AccountId, Timestamp};

use super::payments::{outside, pay};
use super::{done, execute, opened, refusal, refused, usd};
use crate::rig::Rig;

/// The rig's time at first.
const START: &str = "2027-01-15T08:00:00.000000Z";
/// Half of the month that begins then.
const HALF: &str = "2027-01-30T20:00:00Z";

pub(crate) fn subscribe(plan: &str, key: Option<&str>) -> Command {
    let idempotency_key = key.map(str::to_owned);
    Command::Subscribe { plan: plan.into(), payment: None, utc_offset_minutes: 0, idempotency_key }
}

pub(crate) fn change(plan: &str, when: Option<When>) -> Command {
    Command::ChangePlan { plan: plan.into(), when, payment: None, idempotency_key: None }
}

pub(crate) fn cancel(when: When, give_back_unused: bool) -> Command {
    Command::CancelSubscription { when, give_back_unused, reason: "r".into() }
}

/// An account that has paid and is on the plan, which costs 15 USD.
pub(crate) async fn subscribed(rig: &Rig, paid: &str) -> AccountId {
    let account = opened(rig, "ann@example.com").await;
    execute(rig, account, pay("p1", paid)).await;
    execute(rig, account, subscribe("backpack", Some("s"))).await;
    account
}

pub(crate) async fn balance(rig: &Rig, account: AccountId) -> Balance {
    done(rig.ledger.balance(account).await)
}

pub(crate) fn tokens(balance: &Balance) -> Vec<(u64, bool)> {
    balance.token_lots.iter().map(|lot| (lot.remaining, lot.rolled_over)).collect()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_subscription_starts_with_what_it_costs_and_grants() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let poor = refusal(rig.ledger.execute(account, subscribe("backpack", Some("s"))).await);
    assert_eq!(poor, Refusal::CreditTooLow { price_usd: usd("15"), credit_usd: usd("5") });
    execute(&rig, account, pay("p1", "20")).await;
    let command = Command::Subscribe {
        plan: "backpack".into(),
        payment: Some(outside("p1")),
        utc_offset_minutes: 60,
        idempotency_key: Some("s".into()),
    };
    let expected = ("-15".to_owned(), "10".to_owned());
    assert_eq!(execute(&rig, account, command.clone()).await, expected);
    let now = balance(&rig, account).await;
    let subscription = now.subscription.clone().unwrap();
    assert_eq!(subscription.period.start.to_string(), START);
    assert_eq!(subscription.period.end.to_string(), "2027-02-15T08:00:00.000000Z");
    assert_eq!((subscription.at_period_end, tokens(&now)), (AtPeriodEnd::Renew, vec![(1_000, false)]));
    let lots: Vec<_> = now.lots.iter().map(|lot| (lot.source.as_str(), lot.remaining_usd.to_string())).collect();
    assert_eq!(lots, [("trial", "5".to_owned()), ("purchase", "5".to_owned())], "its own payment pays first");
    assert_eq!(done(rig.ledger.account(account).await).plan.id, "backpack");

    assert_eq!(execute(&rig, account, command).await, expected, "a repeat is the same");
    assert_eq!(balance(&rig, account).await, now);
    let check = async |command: Command, expected: &str| {
        let refused = refused(&rig, account, command).await;
        assert!(refused.starts_with(expected), "{refused}\nis not\n{expected}");
    };
    check(subscribe("launch", Some("s")), "idempotency_key: was used before for something else").await;
    check(subscribe("backpack", None), "plan: the account is subscribed to backpack already; use change-plan").await;
    let other = opened(&rig, "bob@example.com").await;
    let check = async |command: Command, expected: &str| {
        let refused = refused(&rig, other, command).await;
        assert!(refused.starts_with(expected), "{refused}\nis not\n{expected}");
    };
    check(subscribe("gold", None), "no plan `gold` in the catalogue").await;
    check(subscribe("free", None), "plan: `free` has no price and no tokens").await;
    check(change("launch", None), "subscription: the account has none; use subscribe").await;
    check(cancel(When::Now, true), "subscription: the account has none; use subscribe").await;
    execute(&rig, other, pay("p2", "20")).await;
    let far =
        Command::Subscribe { plan: "backpack".into(), payment: None, utc_offset_minutes: 841, idempotency_key: None };
    check(far, "utc_offset_minutes: 841; it is from -840 to 840").await;
    let stranger = Command::Subscribe {
        plan: "backpack".into(),
        payment: Some(outside("p1")),
        utc_offset_minutes: 0,
        idempotency_key: None,
    };
    check(stranger, "payment: the account has no payment `p1` of stripe").await;
}

/// Half of the old price comes back with half of the tokens; the others carry over.
#[tokio::test]
async fn a_dearer_plan_takes_over_now() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "75").await;
    rig.clock.set(time(HALF));
    assert_eq!(balance(&rig, account).await.balance_usd, usd("65"));
    assert_eq!(execute(&rig, account, change("launch", None)).await, ("-57.5".to_owned(), "7.5".to_owned()));
    let now = balance(&rig, account).await;
    assert_eq!(tokens(&now), [(500, true), (5_000, false)]);
    let period = now.subscription.unwrap().period;
    assert_eq!((period.start, period.end.to_string().as_str()), (time(HALF), "2027-02-28T20:00:00.000000Z"));
    assert_eq!(
        refused(&rig, account, change("launch", Some(When::Now))).await,
        "plan: the account is on launch already"
    );
}

#[tokio::test]
async fn a_dearer_plan_has_to_be_covered_by_credit_and_what_comes_back() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "67.49").await;
    rig.clock.set(time(HALF));
    // 57.49 of credit and 7.5 that come back.
    let poor = refusal(rig.ledger.execute(account, change("launch", None)).await);
    assert_eq!(poor, Refusal::CreditTooLow { price_usd: usd("65"), credit_usd: usd("64.99") });
    execute(&rig, account, pay("p2", "0.01")).await;
    assert_eq!(execute(&rig, account, change("launch", None)).await.1, "0");
    assert_eq!(balance(&rig, account).await.debt_usd, usd("0"));
}

#[tokio::test]
async fn what_the_periods_end_brings_can_be_changed_until_then() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "100").await;
    let at_end = async || balance(&rig, account).await.subscription.unwrap().at_period_end;
    let launch = || AtPeriodEnd::Change { plan: "launch".into() };
    for (command, expected, appends) in [
        (change("backpack", None), AtPeriodEnd::Renew, 0),
        (change("launch", Some(When::PeriodEnd)), launch(), 1),
        (change("launch", Some(When::PeriodEnd)), launch(), 0),
        (cancel(When::PeriodEnd, false), AtPeriodEnd::End, 1),
        (cancel(When::PeriodEnd, false), AtPeriodEnd::End, 0),
        (change("launch", Some(When::PeriodEnd)), launch(), 1),
        (change("backpack", None), AtPeriodEnd::Renew, 1),
    ] {
        let before = rig.logged().await.0.len();
        let told = format!("{command:?}");
        assert_eq!(execute(&rig, account, command).await, ("0".to_owned(), "90".to_owned()), "{told}");
        assert_eq!(rig.logged().await.0.len() - before, appends, "{told}");
        assert_eq!(at_end().await, expected, "{told}");
    }
    let unused = "give_back_unused: nothing is unused at the period's end; end it now, or leave this out";
    assert_eq!(refused(&rig, account, cancel(When::PeriodEnd, true)).await, unused);
    let paid = Command::ChangePlan {
        plan: "launch".into(),
        when: Some(When::PeriodEnd),
        payment: Some(outside("p1")),
        idempotency_key: None,
    };
    assert_eq!(refused(&rig, account, paid).await, "payment: is for a change that takes effect now; leave it out");
}

#[tokio::test]
async fn a_subscription_that_ends_now_gives_back_where_that_is_asked_for() {
    for (give_back, amount) in [(true, "7.5"), (false, "0")] {
        let rig = Rig::new().await;
        let account = subscribed(&rig, "20").await;
        rig.clock.set(time(HALF));
        let command = cancel(When::Now, give_back);
        assert_eq!(execute(&rig, account, command.clone()).await.0, amount);
        let now = balance(&rig, account).await;
        assert_eq!((&now.subscription, tokens(&now)), (&None, vec![]));
        assert_eq!(done(rig.ledger.account(account).await).plan.id, "free");
        assert_eq!(refused(&rig, account, command).await, "subscription: the account has none; use subscribe");
        // Another one may be started; the old one's key is taken.
        execute(&rig, account, pay("p2", "15")).await;
        execute(&rig, account, subscribe("backpack", Some("t"))).await;
    }
}
