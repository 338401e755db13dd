//! Accounts of gateways on one ledger in memory, against exact amounts.

mod ledger;
mod requests;

use schemas::api::{AccountView, Funds};
use schemas::event::Funding;
use schemas::{Offset, Usd};
use tokio::task::JoinSet;
use tokio::time::advance;
use uuid::Uuid;

use self::ledger::MemoryLedger;
use super::*;
use crate::fixtures::{ACCOUNT, view};

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn money(text: &str) -> Funds {
    Funds { usd: usd(text), plan_tokens: 0 }
}

fn cost(text: &str) -> Funding {
    Funding { plan_tokens: 0, credit_usd: usd(text) }
}

/// One gateway's account on this ledger.
fn account(ledger: &Arc<MemoryLedger>, gateway: u128) -> Arc<Account> {
    let identity = Identity { gateway_id: GatewayId(Uuid::from_u128(gateway)), run_id: RunId(Uuid::now_v7()) };
    let context = Context { now: Arc::new(|| schemas::Timestamp::from_micros(0)), new_id: Arc::new(Uuid::now_v7) };
    let accounts = Accounts::new(ledger.clone(), identity, context, 100);
    Arc::new(Account::new(view(0), Arc::clone(&accounts.lessee)))
}

/// Holds exactly so much, or nothing.
async fn hold(account: &Arc<Account>, amount: &str) -> Result<Hold, NoFunds> {
    hold_between(account, amount, amount).await
}

/// Holds as much as there is, between these two.
async fn hold_between(account: &Arc<Account>, least: &str, most: &str) -> Result<Hold, NoFunds> {
    let (least, most) = (money(least), money(most));
    let decide = |available: Funds| {
        let funds = available.min(most);
        funds.covers(least).then_some(Decided { funds, full: funds == most, what: () })
    };
    let want = |_: &AccountView| most;
    account.hold(decide, want).await.map(|(hold, ())| hold)
}

fn too_little(held: Result<Hold, NoFunds>) -> (String, String) {
    match held {
        Err(NoFunds::TooLittle { available, held }) => (available.usd.to_string(), held.usd.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_older_view_never_replaces_a_newer_one() {
    let account = account(&MemoryLedger::new("1", 0), 1);
    for (version, expected) in [(5, 5), (4, 5), (5, 5), (6, 6)] {
        account.renew_view(view(version));
        assert_eq!(account.view().version.offset, Offset(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_and_charged_is_exact() {
    let ledger = MemoryLedger::new("5", 0);
    let account = account(&ledger, 1);
    let (first, second) = (hold(&account, "3").await.unwrap(), hold(&account, "2").await.unwrap());
    assert_eq!((first.account_id(), first.funds()), (ACCOUNT, money("3")));
    assert_eq!(too_little(hold(&account, "0.000000000001").await), ("0".into(), "5".into()));
    drop(first);
    second.charge(cost("1.5"));
    let all = hold(&account, "3.5").await.unwrap();
    all.charge(cost("3.5"));
    assert_eq!(too_little(hold(&account, "0.000000000001").await), ("0".into(), "0".into()));
    assert_eq!(ledger.reserved(), money("5"));
}

#[tokio::test(start_paused = true)]
async fn who_finds_too_little_makes_do_with_less_when_nothing_more_comes() {
    let ledger = MemoryLedger::new("5", 0);
    let account = account(&ledger, 1);
    let begun = Instant::now();
    let hold = hold_between(&account, "1", "100").await.unwrap();
    assert_eq!(hold.funds(), money("5"));
    assert!(begun.elapsed() < Duration::from_millis(100), "nobody else has any of it");
    drop(hold);
    assert_eq!(too_little(hold_between(&account, "5.1", "100").await), ("5".into(), "0".into()));
}

#[tokio::test(start_paused = true)]
async fn what_running_requests_hold_is_waited_for() {
    let ledger = MemoryLedger::new("5", 0);
    let (one, other) = (account(&ledger, 1), account(&ledger, 2));
    for waits in [&one, &other] {
        let held = hold(&one, "4").await.unwrap();
        let release = async {
            advance(Duration::from_millis(500)).await;
            held.charge(cost("1"));
        };
        let (hold, ()) = tokio::join!(hold_between(waits, "1", "3"), release);
        assert_eq!(hold.unwrap().funds(), money("3"));
        ledger.post_all();
        ledger.add("1");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_its_turn_before_who_comes_later() {
    let ledger = MemoryLedger::new("5", 0);
    let account = account(&ledger, 1);
    let held = hold(&account, "5").await.unwrap();
    let order = Mutex::new(Vec::new());
    let request = async |name, after: u64, amount| {
        sleep_ms(after).await;
        let hold = hold(&account, amount).await.unwrap();
        lock(&order).push(name);
        sleep_ms(10).await;
        drop(hold);
    };
    let release = async {
        sleep_ms(100).await;
        drop(held);
    };
    // The third would fit beside the first, and does not overtake the second.
    tokio::join!(request("first", 1, "4"), request("second", 2, "5"), request("third", 3, "1"), release);
    assert_eq!(*lock(&order), ["first", "second", "third"]);
}

async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_ledger_the_lease_lasts_until_its_end() {
    let ledger = MemoryLedger::new("100", 0);
    let account = account(&ledger, 1);
    drop(hold(&account, "1").await.unwrap());
    ledger.away(true);
    drop(hold(&account, "1").await.unwrap());
    advance(Duration::from_secs(10)).await;
    let error = hold(&account, "1").await.unwrap_err();
    assert!(matches!(&error, NoFunds::Ledger(LedgerError::Unavailable(_))), "{error:?}");
    ledger.away(false);
    drop(hold(&account, "1").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn plan_tokens_that_others_have_are_not_waited_for_where_money_does() {
    let ledger = MemoryLedger::new("5", 100);
    let (one, other) = (account(&ledger, 1), account(&ledger, 2));
    let all = |available: Funds| {
        let tokens = Funds { usd: Usd::ZERO, plan_tokens: 100 };
        let funds = if available.covers(tokens) { tokens } else { money("2") };
        available.covers(funds).then_some(Decided { funds, full: true, what: () })
    };
    let want = |_: &AccountView| Funds { usd: Usd::ZERO, plan_tokens: 100 };
    let (first, ()) = one.hold(all, want).await.unwrap();
    let begun = Instant::now();
    let (second, ()) = other.hold(all, want).await.unwrap();
    assert_eq!((first.funds().plan_tokens, second.funds()), (100, money("2")));
    assert!(begun.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_uses_is_closed_and_its_funds_come_back() {
    let ledger = MemoryLedger::new("5", 0);
    let identity = Identity { gateway_id: GatewayId(Uuid::from_u128(1)), run_id: RunId(Uuid::now_v7()) };
    let context = Context { now: Arc::new(|| schemas::Timestamp::from_micros(0)), new_id: Arc::new(Uuid::now_v7) };
    let accounts = Arc::new(Accounts::new(ledger.clone(), identity, context, 100));
    let account = accounts.find(KeyHash([7; 32])).await.unwrap().unwrap().account;
    let keeper = Keeper::new(accounts);
    let keeping = tokio::spawn(async move { keeper.keep().await });
    hold(&account, "1").await.unwrap().charge(cost("0.25"));
    assert!(ledger.reserved().covers(money("1")));
    sleep_ms(6_000).await;
    assert_eq!(ledger.reserved(), money("0.25"), "what is not posted yet");
    ledger.post_all();
    assert_eq!((ledger.reserved(), ledger.balance()), (Funds::ZERO, usd("4.75")));
    hold(&account, "4.75").await.unwrap().charge(cost("4.75"));
    keeping.abort();
}

/// A lease that has money enough does not keep a request from the plan tokens that there are.
#[tokio::test(start_paused = true)]
async fn plan_tokens_go_before_money_that_is_leased_already() {
    let ledger = MemoryLedger::new("5", 100);
    let account = account(&ledger, 1);
    drop(hold(&account, "1").await.unwrap());
    let tokens = |count| Funds { usd: Usd::ZERO, plan_tokens: count };
    let decide = |available: Funds| {
        let funds = Funds {
            usd: if available.plan_tokens < 40 { usd("1") } else { Usd::ZERO },
            plan_tokens: available.plan_tokens.min(40),
        };
        available.covers(funds).then_some(Decided { funds, full: true, what: () })
    };
    let want = |view: &AccountView| tokens(view.plan_tokens.min(40));
    let begun = Instant::now();
    let mut held = Vec::new();
    for expected in [tokens(40), tokens(40), Funds { usd: usd("1"), plan_tokens: 20 }, money("1")] {
        held.push(account.hold(decide, want).await.unwrap().0);
        assert_eq!(held.last().unwrap().funds(), expected);
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
}

/// Three gateways, many requests at once, an upstream that uses up to all that is held: never more than there is, and all but
/// what is too little for one request.
#[tokio::test(start_paused = true)]
async fn gateways_together_spend_all_of_it_and_no_more() {
    for seed in 0..8_u64 {
        let ledger = MemoryLedger::new("1", 0);
        let gateways: Vec<_> = (1..4).map(|gateway| account(&ledger, gateway)).collect();
        let mut clients = JoinSet::new();
        for client in 0..96_u64 {
            let (account, ledger) = (Arc::clone(&gateways[(client % 3) as usize]), Arc::clone(&ledger));
            clients.spawn(async move {
                let mut random = seed * 1_000 + client + 1;
                let mut next = move |below: u64| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (random >> 33) % below
                };
                let mut spent = 0;
                // In 10^-6 USD, of which there are 1,000,000.
                while let Ok(hold) = hold_between(&account, "0.001", &format!("0.{:06}", 1_000 + next(50_000))).await {
                    sleep_ms(next(30)).await;
                    let held = u64::try_from(hold.funds().usd.to_pico().unwrap()).unwrap() / 1_000_000;
                    let used = next(held + 1);
                    match next(10) {
                        0 => drop(hold),
                        _ => {
                            spent += used;
                            hold.charge(Funding {
                                plan_tokens: 0,
                                credit_usd: Usd::from_pico((used * 1_000_000).cast_signed()),
                            });
                            ledger.post_all();
                        }
                    }
                }
                spent
            });
        }
        let spent: u64 = clients.join_all().await.into_iter().sum();
        ledger.post_all();
        assert_eq!(ledger.balance(), Usd::from_pico(((1_000_000 - spent) * 1_000_000).cast_signed()), "seed {seed}");
        assert!(spent > 999_000, "seed {seed}: {spent} of 1000000 was spent");
    }
}
