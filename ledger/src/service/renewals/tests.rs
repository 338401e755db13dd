//! Periods that are over, by a clock that is moved.

use std::sync::Arc;

use schemas::api::{AtPeriodEnd, Command, EntryDetail, Standing, StatementQuery, When};
use schemas::catalogue::Catalogue;
use schemas::{AccountId, EventData, Timestamp};

use super::Renewals;
use super::due::{Next, next};
use crate::rig::{Rig, catalogue};
use crate::service::LedgerError;
use crate::service::tests::payments::pay;
use crate::service::tests::subscriptions::{balance, cancel, change, subscribed, tokens};

/// The end of the first period, of the second, and of the third.
pub(super) const ENDS: [&str; 3] = ["2027-02-15T08:00:00Z", "2027-03-15T08:00:00Z", "2027-04-15T08:00:00Z"];

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn done<T>(result: Result<T, LedgerError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

async fn execute(rig: &Rig, account: AccountId, command: Command) {
    done(rig.ledger.execute(account, command).await);
}

pub(super) fn renewals(rig: &Rig) -> Renewals {
    Renewals::new(Arc::clone(&rig.ledger))
}

/// Looks at `now`; the types of the events that were appended.
pub(super) async fn look(rig: &Rig, renewals: &Renewals, now: &str) -> Vec<&'static str> {
    rig.clock.set(time(now));
    let before = rig.logged().await.0.len();
    let events = done(renewals.look().await);
    // One account is one partition, so its new events are the last.
    let (types, _) = rig.logged().await;
    assert_eq!((types.len() - before) as u64, events);
    types[before..].to_vec()
}

#[tokio::test]
async fn a_period_is_renewed_once_it_is_over() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    let renewals = renewals(&rig);
    assert_eq!(look(&rig, &renewals, "2027-02-15T07:59:59.999999Z").await, [""; 0]);
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, ["subscription.renewed"]);
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, [""; 0]);
    let now = balance(&rig, account).await;
    assert_eq!((now.balance_usd.to_string(), tokens(&now)), ("15".to_owned(), vec![(1_000, true), (1_000, false)]));
    assert_eq!(now.subscription.unwrap().period.end, time(ENDS[1]));
}

/// A ledger that was away closes one period after the other, and one that it can't.
#[tokio::test]
async fn after_a_long_absence_period_by_period_is_renewed() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    let renewals = renewals(&rig);
    let expected = ["subscription.renewed", "subscription.renewed", "subscription.past_due"];
    assert_eq!(look(&rig, &renewals, "2027-05-01T00:00:00Z").await, expected);
    let now = balance(&rig, account).await;
    assert_eq!((now.balance_usd.to_string(), now.debt_usd.to_string()), ("0".to_owned(), "0".to_owned()));
    let subscription = now.subscription.unwrap();
    assert_eq!(subscription.period.end, time(ENDS[2]));
    let grace_until = time("2027-05-08T00:00:00Z");
    assert_eq!(subscription.standing, Standing::PastDue { grace_until });
}

#[tokio::test]
async fn what_is_past_due_is_renewed_once_it_is_paid() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "15").await;
    let renewals = renewals(&rig);
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, ["subscription.past_due"]);
    for now in [ENDS[0], "2027-02-22T07:59:59.999999Z"] {
        assert_eq!(look(&rig, &renewals, now).await, [""; 0]);
    }
    assert_eq!(tokens(&balance(&rig, account).await), [(1_000, false)], "usable in its grace");
    execute(&rig, account, pay("p2", "10")).await;
    assert_eq!(look(&rig, &renewals, "2027-02-22T07:59:59.999999Z").await, ["subscription.renewed"]);
    let now = balance(&rig, account).await;
    assert_eq!(now.balance_usd.to_string(), "0");
    let subscription = now.subscription.unwrap();
    assert_eq!((subscription.period.end, subscription.standing), (time(ENDS[1]), Standing::Active));
}

#[tokio::test]
async fn what_is_not_paid_ends_with_its_grace() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "15").await;
    let renewals = renewals(&rig);
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, ["subscription.past_due"]);
    assert_eq!(look(&rig, &renewals, "2027-02-22T08:00:00Z").await, ["subscription.canceled"]);
    assert_eq!(look(&rig, &renewals, ENDS[2]).await, [""; 0]);
    let now = balance(&rig, account).await;
    assert_eq!((now.subscription, now.balance_usd.to_string()), (None, "5".to_owned()));
    assert_eq!(done(rig.ledger.account(account).await).plan.id, "free");
}

#[tokio::test]
async fn what_was_decided_for_the_periods_end_comes_with_it() {
    let check = async |command: Command, expected: &'static str, plan: &str, left: &str| {
        let rig = Rig::new().await;
        let account = subscribed(&rig, "100").await;
        execute(&rig, account, command.clone()).await;
        let renewals = renewals(&rig);
        assert_eq!(look(&rig, &renewals, ENDS[0]).await, [expected], "{command:?}");
        assert_eq!(look(&rig, &renewals, ENDS[0]).await, [""; 0], "{command:?}");
        let account = done(rig.ledger.account(account).await);
        assert_eq!((account.plan.id.as_str(), account.balance_usd.to_string().as_str()), (plan, left), "{command:?}");
    };
    check(change("launch", Some(When::PeriodEnd)), "subscription.renewed", "launch", "25").await;
    check(cancel(When::PeriodEnd, false), "subscription.canceled", "free", "90").await;
    check(Command::CloseAccount { reason: "r".into() }, "subscription.canceled", "free", "90").await;
}

/// Nobody is charged for what he may not use.
#[tokio::test]
async fn a_suspended_account_is_past_due_until_it_is_reinstated() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "100").await;
    let renewals = renewals(&rig);
    execute(&rig, account, Command::Suspend { reason: "r".into() }).await;
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, ["subscription.past_due"]);
    execute(&rig, account, Command::Reinstate { reason: "r".into() }).await;
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, ["subscription.renewed"]);
    assert_eq!(balance(&rig, account).await.balance_usd.to_string(), "75");
}

/// Any number of ledgers may look at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledgers_that_renew_at_the_same_time_renew_once() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    rig.clock.set(time(ENDS[0]));
    let before = rig.logged().await.0.len();
    let other = rig.another_ledger();
    let looks = [renewals(&rig), Renewals::new(Arc::clone(&other)), renewals(&rig), Renewals::new(other)];
    for look in looks.map(|renewals| tokio::spawn(async move { renewals.look().await })) {
        done(look.await.unwrap());
    }
    assert!(rig.logged().await.0.len() > before);
    let query = StatementQuery { account_id: account, after: None, from: None, to: None, limit: 100 };
    let entries = done(rig.ledger.statement(query).await).entries;
    let plans = entries.iter().filter(|entry| matches!(entry.detail, EntryDetail::Plan(_)));
    assert_eq!(plans.map(|entry| entry.amount_usd.to_string()).collect::<Vec<_>>(), ["-15", "-15"]);
    assert_eq!(rig.store.quarantine(None, 10).await.unwrap(), []);
}

/// The log keeps every try, so one that can't help is not made again.
#[tokio::test]
async fn an_event_that_can_not_post_is_appended_once() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    let mut plans = catalogue();
    plans.plans.get_mut("backpack").unwrap().tokens_per_month = u64::MAX;
    let broken = Renewals::new(rig.another_ledger_with(plans));
    rig.clock.set(time(ENDS[0]));
    let before = rig.logged().await.0.len();
    for _ in 0..2 {
        assert_eq!(done(broken.look().await), 0);
        assert_eq!(rig.logged().await.0.len(), before + 1);
    }
    let quarantined = rig.store.quarantine(None, 10).await.unwrap();
    let reasons: Vec<_> = quarantined.iter().map(|(row, _)| row.reason.as_str()).collect();
    assert_eq!(reasons, ["out_of_range"]);
    // Nothing was posted, so a ledger with plans that make sense renews.
    assert_eq!(look(&rig, &renewals(&rig), ENDS[0]).await, ["subscription.renewed"]);
    assert_eq!(balance(&rig, account).await.balance_usd.to_string(), "15");
}

/// Terms that are no longer sold go on as they were sold; a plan that nobody sells can't be changed to.
#[tokio::test]
async fn terms_come_from_the_catalogue_where_it_has_them() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "100").await;
    let state = async || rig.store.load(&[account].into(), &[].into()).await.unwrap().accounts[&account].state.clone();
    let renewed = |next: Next| match next {
        Next::Event { data, .. } => match *data {
            EventData::SubscriptionRenewed(data) => (data.plan.id, data.plan.price_usd.to_string()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let backpack = state().await.plan;
    let sold = |price: &str| {
        let mut terms = backpack.clone();
        terms.price_usd = price.parse().unwrap();
        Catalogue { plans: [(terms.id.clone(), terms)].into(), ..Catalogue::default() }
    };
    let at = time(ENDS[0]);
    let renewal = async |catalogue: &Catalogue| renewed(next(&state().await, catalogue, at));
    assert_eq!(renewal(&Catalogue::default()).await, ("backpack".to_owned(), "15".to_owned()));
    assert_eq!(renewal(&sold("17.5")).await, ("backpack".to_owned(), "17.5".to_owned()));
    execute(&rig, account, change("launch", Some(When::PeriodEnd))).await;
    assert_eq!(state().await.subscription.unwrap().at_period_end, AtPeriodEnd::Change { plan: "launch".into() });
    let not_sold = next(&state().await, &sold("15"), at);
    assert!(matches!(&not_sold, Next::NotSold { plan, .. } if plan == "launch"), "{not_sold:?}");
}
