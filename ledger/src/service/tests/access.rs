//! Suspending, reinstating, closing; keys; adjustments.

use accounting::api_key;
use schemas::api::{AccountStatus, Adjustment, Command, IssueKey, KeyInfo};
use schemas::event::KeyLimits;
use schemas::{AccountId, KeyId, LotId};
use uuid::Uuid;

use super::{done, execute, opened, refusal, refused, usd};
use crate::rig::{PEPPER, Rig};

fn why() -> String {
    "r".into()
}

async fn status(rig: &Rig, account: AccountId) -> AccountStatus {
    done(rig.ledger.account(account).await).status
}

#[tokio::test]
async fn access_is_taken_and_given_back_once_each() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let same = ("0".to_owned(), "5".to_owned());
    let suspend = || Command::Suspend { reason: why() };
    let reinstate = || Command::Reinstate { reason: why() };
    for (command, expected) in [
        (reinstate(), AccountStatus::Active),
        (suspend(), AccountStatus::Suspended),
        (suspend(), AccountStatus::Suspended),
        (reinstate(), AccountStatus::Active),
        (suspend(), AccountStatus::Suspended),
        (Command::CloseAccount { reason: why() }, AccountStatus::Closed),
        (Command::CloseAccount { reason: why() }, AccountStatus::Closed),
    ] {
        assert_eq!(execute(&rig, account, command).await, same);
        assert_eq!(status(&rig, account).await, expected);
    }
    let types = rig.logged().await.0;
    let expected = ["account.suspended", "account.reinstated", "account.suspended", "account.closed"];
    assert_eq!(types[3..], expected, "what is so already appends nothing");
    assert_eq!(done(rig.ledger.keys(account).await), []);
    for command in [suspend(), reinstate()] {
        assert_eq!(refused(&rig, account, command).await, "account: is closed for good; open another one");
    }
    let key =
        rig.ledger.issue_key(IssueKey { account_id: account, name: "k".into(), limits: KeyLimits::default() }).await;
    assert_eq!(refusal(key).to_string(), "account: is closed for good; open another one");
    let empty = Command::Suspend { reason: " ".into() };
    assert_eq!(refused(&rig, account, empty).await, "reason: is empty; give it some text");
}

#[tokio::test]
async fn keys_are_listed_renamed_and_revoked() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let other = opened(&rig, "bob@example.com").await;
    let issued = done(
        rig.ledger.issue_key(IssueKey { account_id: account, name: "ci".into(), limits: KeyLimits::default() }).await,
    );
    let (key_id, hash) = (issued.key_id, api_key::hash(PEPPER.as_bytes(), &issued.secret));
    let name = async || {
        let keys = done(rig.ledger.keys(account).await);
        keys.into_iter().find(|key| key.key_id == key_id)
    };
    let hint = issued.secret[issued.secret.len() - 4..].to_owned();
    assert_eq!(name().await, Some(KeyInfo { key_id, name: "ci".into(), hint, limits: KeyLimits::default() }));
    let rename = |to: &str| Command::UpdateKey { key_id, name: Some(to.into()), limits: None };
    for _ in 0..2 {
        execute(&rig, account, rename("laptop")).await;
        assert_eq!(name().await.unwrap().name, "laptop");
    }
    let unknown = format!("key: the account has no live key {key_id}; `modelhub admin list-keys` tells its keys");
    let revoke = || Command::RevokeKey { key_id, reason: why() };
    assert_eq!(refused(&rig, other, revoke()).await, unknown);
    assert_eq!(refused(&rig, other, rename("mine")).await, unknown);
    assert!(done(rig.ledger.find_key(hash).await).is_some());
    for _ in 0..2 {
        execute(&rig, account, revoke()).await;
        assert_eq!(name().await, None);
        assert_eq!(done(rig.ledger.find_key(hash).await), None);
    }
    assert_eq!(refused(&rig, account, rename("again")).await, unknown);
    let nobody = KeyId(Uuid::from_u128(9));
    let revoke = Command::RevokeKey { key_id: nobody, reason: why() };
    assert!(refused(&rig, account, revoke).await.starts_with(&format!("key: the account has no live key {nobody}")));
    // A revoked key makes room for another one: the plan allows two.
    done(rig.ledger.issue_key(IssueKey { account_id: account, name: "ci".into(), limits: KeyLimits::default() }).await);
    let types = rig.logged().await.0;
    let count = |name: &str| types.iter().filter(|found| **found == name).count();
    assert_eq!((count("key.updated"), count("key.revoked")), (1, 1));
}

#[tokio::test]
async fn credit_is_given_and_taken_and_repeats_are_the_same() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let adjust = |adjustment: Adjustment, key: Option<&str>| Command::AdjustCredit {
        adjustment,
        reason: why(),
        idempotency_key: key.map(str::to_owned),
    };
    let give = |amount: &str| Adjustment::Give { amount_usd: usd(amount) };
    let take = |amount: &str| Adjustment::Take { amount_usd: usd(amount), lot_id: None };
    let check = async |command: Command, amount: &str, balance: &str| {
        assert_eq!(execute(&rig, account, command).await, (amount.to_owned(), balance.to_owned()));
    };
    check(adjust(give("1.5"), Some("a")), "1.5", "6.5").await;
    check(adjust(take("2"), Some("b")), "-2", "4.5").await;
    check(adjust(give("1.5"), Some("a")), "1.5", "6.5").await;
    check(adjust(take("5"), None), "-5", "-0.5").await;
    assert_eq!(done(rig.ledger.balance(account).await).debt_usd, usd("0.5"));

    let range = "USD; it has to be above zero and at most 9000000 USD";
    for (adjustment, expected) in
        [(give("0"), format!("amount_usd: 0 {range}")), (take("-1"), format!("amount_usd: -1 {range}"))]
    {
        assert_eq!(refused(&rig, account, adjust(adjustment, None)).await, expected);
    }
    let elsewhere = refused(&rig, account, adjust(give("2"), Some("a"))).await;
    assert!(elsewhere.starts_with("idempotency_key: was used before for something else: event "), "{elsewhere}");
    let lot_id = LotId(Uuid::from_u128(9));
    let of_lot = Adjustment::Take { amount_usd: usd("1"), lot_id: Some(lot_id) };
    for adjustment in [of_lot, Adjustment::Expire { lot_id }] {
        let refused = refused(&rig, account, adjust(adjustment, None)).await;
        assert!(refused.starts_with(&format!("lot: the account has no lot {lot_id} with money left")), "{refused}");
    }
    let bob = opened(&rig, "bob@example.com").await;
    let trial = done(rig.ledger.balance(bob).await).lots[0].lot_id;
    let never = refused(&rig, bob, adjust(Adjustment::Expire { lot_id: trial }, None)).await;
    assert_eq!(never, format!("lot: lot {trial} never expires"));
}
