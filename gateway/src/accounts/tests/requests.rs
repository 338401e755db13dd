//! Requests that need the ledger's word on the plan's limits, which are ten a minute and two at once.

use super::*;
use crate::limits::TooMany;

#[tokio::test(start_paused = true)]
async fn requests_that_come_at_once_ask_together() {
    let ledger = MemoryLedger::new("5", 0);
    let account = account(&ledger, 1);
    let all = tokio::join!(account.admit(), account.admit(), account.admit(), account.admit());
    let all = [all.0, all.1, all.2, all.3];
    assert_eq!(all.iter().filter(|admitted| admitted.is_ok()).count(), 2, "{all:?}");
    for refused in all.iter().filter_map(|admitted| admitted.as_ref().err()) {
        let at_once = TooMany::AtOnce { limit: 2, retry_after_seconds: 1 };
        assert!(matches!(refused, Unadmitted::TooMany(refused) if *refused == at_once), "{refused:?}");
    }
    assert!(ledger.heard() <= 2, "{} messages", ledger.heard());
    // Whoever is over makes room, which nobody need be asked for.
    let heard = ledger.heard();
    drop(all);
    let _running = account.admit().await.unwrap();
    assert_eq!(ledger.heard(), heard);
}

#[tokio::test(start_paused = true)]
async fn without_a_ledger_a_share_lasts_until_its_end_and_nobody_is_told_that_he_came_too_soon() {
    let ledger = MemoryLedger::new("5", 0);
    let account = account(&ledger, 1);
    drop(account.admit().await.unwrap());
    drop(tokio::join!(account.admit(), account.admit()));
    ledger.away(true);
    drop(account.admit().await);
    advance(Duration::from_secs(10)).await;
    let error = account.admit().await.unwrap_err();
    assert!(matches!(&error, Unadmitted::Ledger(LedgerError::Unavailable(_))), "{error:?}");
    ledger.away(false);
    drop(account.admit().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn gateways_share_the_limits_and_give_back_what_is_idle() {
    let ledger = MemoryLedger::new("5", 0);
    let keep = |gateway: u128| {
        let identity = Identity { gateway_id: GatewayId(Uuid::from_u128(gateway)), run_id: RunId(Uuid::now_v7()) };
        let context = Context { now: Arc::new(|| schemas::Timestamp::from_micros(0)), new_id: Arc::new(Uuid::now_v7) };
        Arc::new(Accounts::new(ledger.clone(), identity, context, 10))
    };
    let (one, other) = (keep(1), keep(2));
    let find = async |accounts: &Arc<Accounts>| accounts.find(KeyHash([7; 32])).await.unwrap().unwrap().account;
    let keeping: Vec<_> = [&one, &other]
        .map(|accounts| {
            let keeper = Keeper::new(Arc::clone(accounts));
            tokio::spawn(async move { keeper.keep().await })
        })
        .into();
    let (one, other) = (find(&one).await, find(&other).await);
    let both = (one.admit().await.unwrap(), one.admit().await.unwrap());
    assert!(matches!(other.admit().await, Err(Unadmitted::TooMany(TooMany::AtOnce { limit: 2, .. }))));
    drop(both);
    sleep_ms(2_000).await;
    for _ in 0..8 {
        drop(other.admit().await.unwrap());
    }
    let refused = other.admit().await.unwrap_err();
    assert!(matches!(&refused, Unadmitted::TooMany(TooMany::InAMinute { limit: 10, .. })), "{refused:?}");
    assert_eq!(other.standing(Instant::now()).remaining, 0);
    // Of what is refused nobody asks again within a second.
    let heard = ledger.heard();
    for _ in 0..100 {
        assert!(other.admit().await.is_err());
        assert!(one.admit().await.is_err());
    }
    assert!(ledger.heard() <= heard + 1, "{} messages", ledger.heard() - heard);
    keeping.iter().for_each(tokio::task::JoinHandle::abort);
}
