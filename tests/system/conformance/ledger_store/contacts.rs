//! Contacts, which are no projection, and what a restart keeps.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::{AccountId, PartitionId, Timestamp};
use uuid::Uuid;

use super::events::{event_id, grant, key, key_hash, open, usage, usd};
use super::stage::{Stage, account_in};

const HERE: PartitionId = PartitionId(7);

fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

pub(super) async fn one_account_gets_an_email(stage: Stage) {
    let at = Timestamp::from_micros(-1);
    assert_eq!(stage.store.contact("a@b.co").await.unwrap(), None);
    assert_eq!(stage.store.claim_contact("a@b.co", account(1), at).await.unwrap(), account(1));
    assert_eq!(stage.store.claim_contact("a@b.co", account(2), at).await.unwrap(), account(1));
    assert_eq!(stage.store.claim_contact("a@b.co", account(1), at).await.unwrap(), account(1));
    assert_eq!(stage.store.claim_contact("ü'\"@b.co", account(3), at).await.unwrap(), account(3));
    stage.store.claim_contact("second@b.co", account(1), at).await.expect_err("an account has one e-mail");
    assert_eq!(stage.store.contact("a@b.co").await.unwrap(), Some(account(1)));
    assert_eq!(stage.store.contact("second@b.co").await.unwrap(), None);
    assert_eq!(stage.store.contact("A@b.co").await.unwrap(), None, "the caller folds case");
}

pub(super) async fn of_concurrent_claims_exactly_one_wins(stage: Stage) {
    for round in 0..5_u128 {
        let email = format!("{round}@b.co");
        let claims = (1..=16_u128).map(|n| {
            let (store, email) = (Arc::clone(&stage.store), email.clone());
            tokio::spawn(async move {
                store.claim_contact(&email, account(round * 100 + n), Timestamp::from_micros(0)).await.unwrap()
            })
        });
        let mut owners = BTreeSet::new();
        for claim in claims.collect::<Vec<_>>() {
            owners.insert(claim.await.unwrap());
        }
        assert_eq!(owners.len(), 1, "{owners:?}");
        assert_eq!(stage.store.contact(&email).await.unwrap(), owners.first().copied());
    }
}

pub(super) async fn everything_is_there_after_a_restart(stage: Stage) {
    let one = account_in(HERE, 0);
    let (granted, used) = (grant(one, 2, 1, usd("5"), 1), usage(one, 4, 10, "0.30"));
    stage.apply(HERE, &[open(one, 1), granted, key(one, 3, 1, 1), used, b"{".to_vec()]).await;
    stage.store.claim_contact("a@b.co", one, Timestamp::from_micros(1)).await.unwrap();
    let seen = async |stage: &Stage| {
        let ids = (1..=9).map(event_id).collect();
        let loaded = stage.store.load(&BTreeSet::from([one]), &ids).await.unwrap();
        let entries = stage.store.entries(one, None, 100).await.unwrap();
        let key = stage.store.key(&key_hash(1)).await.unwrap();
        (
            stage.head(HERE).await,
            stage.counts().await,
            loaded,
            entries,
            key,
            stage.store.contact("a@b.co").await.unwrap(),
        )
    };
    let before = seen(&stage).await;
    assert_eq!(before.1, [1, 1, 1, 4, 2, 1, 1, 1]);
    let stage = stage.reopened().await;
    assert_eq!(seen(&stage).await, before);
    stage.apply(HERE, &[usage(one, 5, 10, "0.30")]).await;
    assert_eq!(stage.store.entries(one, None, 100).await.unwrap().len(), 3);
}
