//! Plans' prices beside what gateways were granted: nothing that is granted is charged twice.

use std::sync::Arc;
use std::time::Duration;

use schemas::api::{Command, Funds, LeaseRequest, Refusal, Standing};
use schemas::{AccountId, GatewayId, LeaseId, RunId, Usd};
use uuid::Uuid;

use super::Renewals;
use super::tests::{ENDS, done, look, renewals, time};
use crate::gateways;
use crate::rig::Rig;
use crate::service::LedgerError;
use crate::service::tests::opened;
use crate::service::tests::payments::pay;
use crate::service::tests::subscriptions::{balance, change, subscribe, subscribed, tokens};
use crate::store::LeasedGateway;

const MINUTES: Duration = Duration::from_mins(3);

fn money(amount: &str) -> Funds {
    Funds { usd: amount.parse().unwrap(), plan_tokens: 0 }
}

fn lease_id() -> LeaseId {
    LeaseId(Uuid::from_u128(1))
}

fn gateway_id() -> GatewayId {
    GatewayId(Uuid::from_u128(0x6a7e))
}

/// A gateway's message: what was spent, and what it keeps or needs.
async fn lease(rig: &Rig, account_id: AccountId, seq: u64, spent: &str, ceiling: &str, need: &str) -> Funds {
    lease_of(rig, account_id, seq, money(spent), money(ceiling), money(need)).await
}

async fn lease_of(rig: &Rig, account_id: AccountId, seq: u64, spent: Funds, ceiling: Funds, need: Funds) -> Funds {
    let request = LeaseRequest {
        account_id,
        lease_id: lease_id(),
        gateway_id: gateway_id(),
        run_id: RunId(Uuid::from_u128(3)),
        seq,
        spent,
        ceiling,
        need,
        wish: need,
        close: false,
        requests: None,
    };
    done(rig.ledger.lease(request).await).granted
}

/// A gateway's first message, which needs plan tokens.
async fn lease_tokens(rig: &Rig, account: AccountId, plan_tokens: u64) -> Funds {
    lease_of(rig, account, 1, Funds::ZERO, Funds::ZERO, Funds { usd: Usd::ZERO, plan_tokens }).await
}

/// Balance and debt.
async fn has(rig: &Rig, account: AccountId) -> (String, String) {
    let now = balance(rig, account).await;
    (now.balance_usd.to_string(), now.debt_usd.to_string())
}

fn is(balance: &str, debt: &str) -> (String, String) {
    (balance.to_owned(), debt.to_owned())
}

/// What every gateway reserves, as an operator sees it.
async fn reserved(rig: &Rig) -> Vec<Usd> {
    let gateways = done(rig.ledger.leased_gateways().await);
    gateways.into_iter().map(|LeasedGateway { reserved, .. }| reserved.usd).collect()
}

async fn refused(rig: &Rig, account: AccountId, command: Command) -> Refusal {
    let before = rig.logged().await.0.len();
    let Err(LedgerError::Refused(refusal)) = rig.ledger.execute(account, command).await else { panic!("not refused") };
    assert_eq!(rig.logged().await.0.len(), before);
    refusal
}

/// Requests that were granted all but a cent of what the price needs run when the period ends, and are charged all of it.
#[tokio::test]
async fn a_renewal_waits_for_running_requests_and_leaves_no_debt() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    let renewals = renewals(&rig);
    assert_eq!(lease(&rig, account, 1, "0", "0", "15.01").await, money("15.01"));
    for _ in 0..3 {
        assert_eq!(look(&rig, &renewals, ENDS[0]).await, [""; 0], "14.99 of 30 USD are left");
    }
    assert_eq!(has(&rig, account).await, is("30", "0"));
    assert_eq!(balance(&rig, account).await.subscription.unwrap().standing, Standing::Active);
    rig.used_on(lease_id(), account, 900, 15).await;
    assert_eq!(has(&rig, account).await, is("15", "0"));
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, [""; 0], "a cent may still be charged");
    // The gateway gives that back.
    assert_eq!(lease(&rig, account, 2, "15", "15", "0").await, money("15"));
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, ["subscription.renewed"]);
    assert_eq!(has(&rig, account).await, is("0", "0"));
    assert_eq!(reserved(&rig).await, ["0".parse().unwrap()]);
}

/// It is past due once the balance itself is too small, and not before.
#[tokio::test]
async fn what_running_requests_used_up_is_past_due() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    let renewals = renewals(&rig);
    lease(&rig, account, 1, "0", "0", "29").await;
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, [""; 0]);
    rig.used_on(lease_id(), account, 900, 16).await;
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, ["subscription.past_due"]);
    rig.used_on(lease_id(), account, 901, 13).await;
    assert_eq!(has(&rig, account).await, is("1", "0"));
}

/// What the price takes is nobody's to spend while its event is on its way.
#[tokio::test]
async fn nothing_is_granted_of_a_price_that_is_set_aside() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    let renewals = renewals(&rig);
    rig.log.fail_after(0);
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, [""; 0]);
    assert_eq!(lease(&rig, account, 1, "0", "0", "15.000000000001").await, money("0"), "of 30 USD");
    assert_eq!(lease(&rig, account, 2, "0", "0", "15").await, money("15"));
    rig.log.mend();
    rig.used_on(lease_id(), account, 900, 15).await;
    assert_eq!(look(&rig, &renewals, ENDS[0]).await, ["subscription.renewed"]);
    assert_eq!(has(&rig, account).await, is("0", "0"));
}

#[tokio::test]
async fn a_plan_whose_price_running_requests_have_is_refused() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "90").await;
    assert_eq!(has(&rig, account).await, is("80", "0"));
    lease(&rig, account, 1, "0", "0", "30.01").await;
    let expected = Refusal::CreditReserved {
        due_usd: "50".parse().unwrap(),
        credit_usd: "80".parse().unwrap(),
        reserved_usd: "30.01".parse().unwrap(),
    };
    // At once, so all of the 15 USD of the first period come back.
    assert_eq!(refused(&rig, account, change("launch", None)).await, expected);
    assert_eq!(lease(&rig, account, 2, "0", "30", "30").await, money("30"));
    done(rig.ledger.execute(account, change("launch", None)).await);
    rig.used_on(lease_id(), account, 900, 30).await;
    assert_eq!(has(&rig, account).await, is("0", "0"));
}

#[tokio::test]
async fn a_subscription_whose_price_running_requests_have_is_refused() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    done(rig.ledger.execute(account, pay("p1", "15")).await);
    lease(&rig, account, 1, "0", "0", "6").await;
    let told = refused(&rig, account, subscribe("backpack", Some("s"))).await.to_string();
    let expected = "the plan takes 15 USD of the account's 20 USD of credit, and 6 USD of that are reserved for requests \
                    that run: try again when they have ended, or record a payment first";
    assert_eq!(told, expected);
    assert_eq!(lease(&rig, account, 2, "0", "5", "5").await, money("5"));
    done(rig.ledger.execute(account, subscribe("backpack", Some("s"))).await);
    assert_eq!(has(&rig, account).await, is("5", "0"));
}

/// A request that runs on plan tokens lessens what comes back of the period, and that is known before.
#[tokio::test]
async fn plan_tokens_that_are_reserved_bring_no_money_back() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "65").await;
    lease_tokens(&rig, account, 500).await;
    // Half of the tokens may be used, so only half of the 15 USD surely come back: 65 - 7.5 is more than 55.
    let expected = Refusal::CreditReserved {
        due_usd: "57.5".parse().unwrap(),
        credit_usd: "55".parse().unwrap(),
        reserved_usd: Usd::ZERO,
    };
    assert_eq!(refused(&rig, account, change("launch", None)).await, expected);
}

/// A ledger may stop before it has appended, or after it: what is in the log is charged, once, and what is not is nobody's
/// business any more.
#[tokio::test]
async fn what_a_ledger_left_set_aside_is_free_once_its_fate_is_known() {
    let check = async |stops: &str, arrange: fn(&Rig), left: &str| {
        let rig = Rig::new().await;
        let account = opened(&rig, "ann@example.com").await;
        done(rig.ledger.execute(account, pay("p1", "15")).await);
        arrange(&rig);
        let stopped = rig.ledger.execute(account, subscribe("backpack", Some("s"))).await;
        assert!(matches!(stopped, Err(LedgerError::Unavailable(_))), "{stops}");
        rig.log.mend();
        let other = rig.another_ledger();
        let release = async || {
            let long_ago = other.long_ago();
            other.catch_up().await.unwrap();
            done(other.release_left_charges(long_ago).await)
        };
        assert_eq!(release().await, 0, "{stops}: too early to tell");
        assert_eq!(lease(&rig, account, 1, "0", "0", "5").await, money("5"), "{stops}");
        rig.clock.advance(MINUTES);
        let appended = rig.logged().await.0.len();
        assert_eq!(release().await, 1, "{stops}");
        assert_eq!(release().await, 0, "{stops}");
        assert_eq!(rig.logged().await.0.len(), appended, "{stops}: nothing is appended for somebody else");
        assert_eq!(has(&rig, account).await, is(left, "0"), "{stops}");
        rig.used_on(lease_id(), account, 900, 5).await;
        // The client asks again: what is done already is not done twice.
        done(rig.ledger.execute(account, subscribe("backpack", Some("s"))).await);
        assert_eq!(has(&rig, account).await, is("0", "0"), "{stops}");
        assert_eq!(tokens(&balance(&rig, account).await), [(1_000, false)], "{stops}");
        assert_eq!(rig.store.quarantine(None, 9).await.unwrap(), [], "{stops}");
    };
    check("before it appended", |rig| rig.log.fail_after(0), "20").await;
    check("after it appended", |rig| rig.log.lose_answer_after(0), "5").await;
}

/// Requests go on with the plan's tokens while a price is set aside that does not depend on them.
#[tokio::test]
async fn plan_tokens_stay_free_while_a_price_is_set_aside() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    rig.log.fail_after(0);
    assert_eq!(look(&rig, &renewals(&rig), ENDS[0]).await, [""; 0]);
    rig.log.mend();
    assert_eq!(lease_tokens(&rig, account, 1_000).await.plan_tokens, 1_000);
}

/// What can't post, or was appended by another ledger first, keeps nothing set aside.
#[tokio::test]
async fn what_an_event_that_did_not_charge_set_aside_is_free_again() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    let mut plans = crate::rig::catalogue();
    plans.plans.get_mut("backpack").unwrap().tokens_per_month = u64::MAX;
    let broken = Renewals::new(rig.another_ledger_with(plans));
    rig.clock.set(time(ENDS[0]));
    assert_eq!(done(broken.look().await), 0);
    assert_eq!(lease(&rig, account, 1, "0", "0", "30").await, money("30"), "all of it");
    assert_eq!(rig.store.charges_before(rig.now_and(MINUTES), 9).await.unwrap(), []);
}

/// The ledger's own leases are no gateway's.
#[tokio::test]
async fn what_the_ledger_sets_aside_is_no_gateway_to_abandon() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    rig.log.fail_after(0);
    assert_eq!(look(&rig, &renewals(&rig), ENDS[0]).await, [""; 0]);
    rig.log.mend();
    assert_eq!(reserved(&rig).await, [], "15 USD are, by the ledger");
    let abandoned = gateways::abandon(&*rig.store, &*rig.log, GatewayId::LEDGER).await;
    let Err(LedgerError::Refused(refusal)) = abandoned else { panic!("abandoned") };
    assert!(refusal.to_string().contains("is the ledger"), "{refusal}");
    assert_eq!(lease(&rig, account, 1, "0", "0", "15.000000000001").await, money("0"));
}

/// A rebuild in between: what was set aside stays so.
#[tokio::test]
async fn what_is_set_aside_outlives_a_rebuild() {
    let rig = Rig::new().await;
    let account = subscribed(&rig, "40").await;
    rig.log.fail_after(0);
    assert_eq!(look(&rig, &renewals(&rig), ENDS[0]).await, [""; 0]);
    rig.log.mend();
    rig.stop_folding().await;
    rig.store.reset().await.unwrap();
    let again = Arc::clone(&rig.ledger).execute(account, change("launch", None)).await;
    assert!(again.is_err(), "nothing is known of the account");
    let left = rig.store.charges_before(rig.now_and(MINUTES), 9).await.unwrap();
    assert_eq!(left.iter().map(|charge| charge.account_id).collect::<Vec<_>>(), [account]);
}
