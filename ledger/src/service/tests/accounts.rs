//! Opening accounts and issuing keys.

use std::sync::Arc;
use std::time::Duration;

use accounting::api_key;
use eventlog::EventLog as _;
use schemas::Usd;
use schemas::api::{GrantCredit, IssueKey, Refusal};
use schemas::event::KeyLimits;

use super::{LedgerError, done, open, refusal, stranger, usd};
use crate::rig::{Options, PEPPER, Rig};

#[tokio::test]
async fn an_opened_account_has_a_working_key_and_the_trial_credit() {
    let rig = Rig::new().await;
    let opened = done(rig.ledger.open_account(open(" Ann@Example.com ", "free")).await);
    let view = done(rig.ledger.account(opened.account_id).await);
    assert_eq!((view.account_id, view.plan.id.as_str()), (opened.account_id, "free"));
    assert_eq!(view.balance_usd, usd("5"));

    assert!(api_key::is_well_formed(&opened.key.secret));
    let hash = api_key::hash(PEPPER.as_bytes(), &opened.key.secret);
    let found = done(rig.ledger.find_key(hash).await).unwrap();
    assert_eq!((found.key_id, found.hash, found.account), (opened.key.key_id, hash, view));
    let other = api_key::hash(b"another pepper", &opened.key.secret);
    assert_eq!(done(rig.ledger.find_key(other).await), None);

    assert_eq!(rig.store.contact("ann@example.com").await.unwrap(), Some(opened.account_id));
    let (types, bytes) = rig.logged().await;
    assert_eq!(types, ["account.opened", "credit.granted", "key.issued"]);
    assert!(!bytes.to_lowercase().contains("ann"), "personal data in the log");
    assert!(!bytes.contains(&opened.key.secret), "a secret in the log");
}

/// A gateway subtracts what it charged at positions that a view does not include yet. A repeated event changes no
/// account, and a view that did not move past it would have its charge subtracted for ever.
#[tokio::test]
async fn a_key_s_view_moves_past_records_that_change_nothing() {
    let rig = Rig::new().await;
    let opened = done(rig.ledger.open_account(open("ann@example.com", "free")).await);
    let hash = api_key::hash(PEPPER.as_bytes(), &opened.key.secret);
    let grant = GrantCredit {
        account_id: opened.account_id,
        amount_usd: usd("1"),
        reason: "r".into(),
        idempotency_key: Some("once".into()),
    };
    for _ in 0..2 {
        done(rig.ledger.grant_credit(grant.clone()).await);
        let view = done(rig.ledger.find_key(hash).await).unwrap().account;
        let end = rig.log.end(view.version.partition).await.unwrap();
        assert_eq!((view.version.offset.next(), view.balance_usd), (end, usd("6")));
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let rig = Rig::new().await;
    let check = async |email: &str, plan: &str, expected: &str| {
        assert_eq!(refusal(rig.ledger.open_account(open(email, plan)).await).to_string(), expected);
    };
    check("ann", "free", "email: an e-mail address looks like name@example.com, in at most 254 bytes").await;
    check("a@b.co", "gold", "no plan `gold` in the catalogue; it has backpack, free, launch, paid").await;
    assert_eq!(rig.logged().await.0, [""; 0]);
    assert_eq!(rig.store.contact("a@b.co").await.unwrap(), None);

    let unknown = Refusal::UnknownAccount { account: stranger().to_string() };
    assert_eq!(refusal(rig.ledger.account(stranger()).await), unknown);
    assert_eq!(refusal(rig.ledger.balance(stranger()).await), unknown);
    let key = IssueKey { account_id: stranger(), name: "k".into(), limits: KeyLimits::default() };
    assert_eq!(refusal(rig.ledger.issue_key(key).await), unknown);
}

#[tokio::test]
async fn an_email_opens_one_account() {
    let rig = Rig::new().await;
    let first = done(rig.ledger.open_account(open("ann@example.com", "free")).await);
    let taken = Refusal::EmailTaken { account_id: first.account_id };
    for email in ["ann@example.com", "ANN@example.com"] {
        assert_eq!(refusal(rig.ledger.open_account(open(email, "paid")).await), taken);
    }
    let other = done(rig.ledger.open_account(open("bob@example.com", "paid")).await);
    assert_ne!(other.account_id, first.account_id);
    assert_eq!(done(rig.ledger.account(other.account_id).await).balance_usd, Usd::ZERO);
    assert_eq!(rig.logged().await.0.len(), 5, "no trial credit without one in the plan");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_openings_one_wins() {
    let rig = Rig::new().await;
    let openings = (0..8).map(|_| {
        let ledger = Arc::clone(&rig.ledger);
        tokio::spawn(async move { ledger.open_account(open("ann@example.com", "free")).await })
    });
    let mut winners = vec![];
    for opening in openings.collect::<Vec<_>>() {
        match opening.await.unwrap() {
            Ok(opened) => winners.push(opened),
            Err(LedgerError::Refused(Refusal::EmailTaken { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let hash = api_key::hash(PEPPER.as_bytes(), &winners[0].key.secret);
    let found = done(rig.ledger.find_key(hash).await).unwrap();
    assert_eq!((found.account.account_id, found.account.balance_usd), (winners[0].account_id, usd("5")));
}

/// Wherever the first call is cut short, the next one completes it, on the plan that is in the log, and nothing is
/// doubled.
#[tokio::test]
async fn an_opening_that_was_cut_short_is_completed() {
    let all = ["account.opened", "credit.granted", "key.issued"];
    let check = async |appends, plan: &str, balance: &str, events: &[&str]| {
        let rig = Rig::new().await;
        rig.log.fail_after(appends);
        let cut = rig.ledger.open_account(open("ann@example.com", "free")).await;
        assert!(matches!(cut, Err(LedgerError::Unavailable(_))), "after {appends}");
        rig.log.mend();
        completed(&rig, plan, balance).await;
        assert_eq!(rig.logged().await.0, events, "after {appends}");
    };
    check(0, "paid", "0", &["account.opened", "key.issued"]).await;
    check(1, "free", "5", &all).await;
    check(2, "free", "5", &all).await;
}

/// An append whose answer was lost is there, applied or not yet: nothing is doubled.
#[tokio::test]
async fn an_opening_whose_answer_was_lost_is_completed() {
    for appends in 0..2 {
        let rig = Rig::new().await;
        rig.log.lose_answer_after(appends);
        let cut = rig.ledger.open_account(open("ann@example.com", "free")).await;
        assert!(matches!(cut, Err(LedgerError::Unavailable(_))), "after {appends}");
        completed(&rig, "free", "5").await;
    }
}

/// A first key that nobody has seen stays: the account is open, and its owner gets another one.
#[tokio::test]
async fn an_opening_whose_last_answer_was_lost_is_complete() {
    let rig = Rig::new().await;
    rig.log.lose_answer_after(2);
    let cut = rig.ledger.open_account(open("ann@example.com", "free")).await;
    assert!(matches!(cut, Err(LedgerError::Unavailable(_))));
    let repeat = refusal(rig.ledger.open_account(open("ann@example.com", "free")).await);
    let Refusal::EmailTaken { account_id } = repeat else { panic!("{repeat}") };
    done(
        rig.ledger.issue_key(IssueKey { account_id, name: "a second one".into(), limits: KeyLimits::default() }).await,
    );
}

async fn completed(rig: &Rig, plan: &str, balance: &str) {
    let opened = done(rig.ledger.open_account(open("ann@example.com", "paid")).await);
    let view = done(rig.ledger.account(opened.account_id).await);
    assert_eq!((view.plan.id.as_str(), view.balance_usd), (plan, usd(balance)));
    let loaded = rig.store.load(&[opened.account_id].into(), &[].into()).await.unwrap();
    let state = &loaded.accounts[&opened.account_id].state;
    assert_eq!(state.keys.keys().collect::<Vec<_>>(), [&opened.key.key_id]);
    let hash = api_key::hash(PEPPER.as_bytes(), &opened.key.secret);
    assert!(done(rig.ledger.find_key(hash).await).is_some());
}

#[tokio::test]
async fn keys_are_issued_up_to_the_plans_limit() {
    let rig = Rig::new().await;
    let account_id = done(rig.ledger.open_account(open("ann@example.com", "free")).await).account_id;
    let issue =
        |name: &str| rig.ledger.issue_key(IssueKey { account_id, name: name.into(), limits: KeyLimits::default() });
    let check = async |name: &str, expected: &str| assert_eq!(refusal(issue(name).await).to_string(), expected);
    check(" ", "name: is empty; give it some text").await;
    check("a\0b", "name: holds control characters; leave them out").await;
    check(&"x".repeat(101), "name: has 101 characters; at most 100 are kept").await;
    let second = done(issue("laptop").await);
    let hash = api_key::hash(PEPPER.as_bytes(), &second.secret);
    assert_eq!(done(rig.ledger.find_key(hash).await).unwrap().key_id, second.key_id);
    check("third", "the plan allows 2 keys and 2 are live; revoke one or upgrade the plan").await;

    let account_id = done(rig.ledger.open_account(open("bob@example.com", "paid")).await).account_id;
    for name in ["a", "a", "b"] {
        done(rig.ledger.issue_key(IssueKey { account_id, name: name.into(), limits: KeyLimits::default() }).await);
    }
}

/// Keys that are in the log count, applied or not.
#[tokio::test]
async fn keys_that_nobody_applies_do_not_overrun_the_limit() {
    let rig = Rig::with(Options { apply_timeout: Duration::from_millis(300), ..Options::default() }).await;
    let account_id = done(rig.ledger.open_account(open("ann@example.com", "free")).await).account_id;
    rig.stop_folding().await;
    let mut told = Vec::new();
    for _ in 0..4 {
        let Err(error) = rig
            .ledger
            .issue_key(IssueKey { account_id, name: "k".into(), limits: schemas::event::KeyLimits::default() })
            .await
        else {
            panic!("applied")
        };
        told.push(error.to_string());
    }
    assert!(told[0].contains("the event was appended at"), "{told:?}");
    assert!(told[1..].iter().all(|told| told.contains("no key was issued")), "{told:?}");
    assert_eq!(rig.logged().await.0, ["account.opened", "credit.granted", "key.issued", "key.issued"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_commands_do_not_overrun_the_limit() {
    let rig = Rig::new().await;
    let account_id = done(rig.ledger.open_account(open("ann@example.com", "free")).await).account_id;
    let issues = (0..8).map(|_| {
        let ledger = Arc::clone(&rig.ledger);
        tokio::spawn(async move {
            ledger.issue_key(IssueKey { account_id, name: "k".into(), limits: KeyLimits::default() }).await
        })
    });
    let mut winners = 0;
    for issue in issues.collect::<Vec<_>>() {
        match issue.await.unwrap() {
            Ok(_) => winners += 1,
            Err(LedgerError::Refused(Refusal::KeyLimit { limit: 2 })) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners, 1);
}
