//! A reset keeps leases, and grants nothing until the log has given again what accounts have.

use std::collections::BTreeMap;

use ledger::store::Leased;
use schemas::api::{CloseLeases, Funds, LeaseRequest};
use schemas::{AccountId, Offset, PartitionId};

use super::events::{grant, leased, open, subscribed, usd};
use super::leases::{
    HERE, closing, funds, gateway_id, held, lease_id, leases, message, opening, renewed, rich, run_id, send,
};
use super::stage::{Stage, account_in};

const THERE: PartitionId = PartitionId(21);

/// What `rich(_, 0)` applied, and what its leases posted.
fn history(account: AccountId) -> Vec<Vec<u8>> {
    let mut records =
        vec![open(account, 100), grant(account, 101, 100, usd("5.000000000001"), 1), subscribed(account, 102, 1_000)];
    records.extend(postings(account));
    records
}

fn postings(account: AccountId) -> [Vec<u8>; 3] {
    let on = |id, lease, plan_tokens, completion| leased(account, id, lease_id(lease), plan_tokens, completion);
    [on(1, 1, 10, 1_000_000), on(2, 2, 50, 500_000), on(3, 3, 0, 250_000)]
}

pub(super) async fn a_reset_keeps_leases_and_grants_nothing_before_it_is_folded_again(stage: Stage) {
    let (account, there) = (rich(&stage, 0).await, account_in(THERE, 0));
    stage.apply(THERE, &[open(there, 900), grant(there, 901, 901, usd("5"), 1)]).await;
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("0.5", 50))).await;
    renewed(&stage, &opening(account, 3, funds("1", 0))).await;
    renewed(&stage, &opening(there, 4, funds("3", 0))).await;
    stage.apply(HERE, &postings(account)).await;
    renewed(&stage, &closing(account, 2, 2, funds("0.5", 50))).await;
    renewed(&stage, &closing(account, 3, 2, funds("0.5", 0))).await;
    let before = (leases(&stage).await, held(&stage, account).await, held(&stage, there).await);
    assert_eq!(before.1, [funds("3.250000000001", 940), funds("1.25", 190), Funds::ZERO]);

    assert_eq!(stage.store.refolding().await.unwrap(), None);
    stage.store.reset().await.unwrap();
    assert_eq!(leases(&stage).await.len(), 3);
    // All that was ever granted may still post, as far as is known.
    assert_eq!(held(&stage, account).await, [Funds::ZERO, funds("2.5", 200), funds("2.5", 200)]);
    assert_eq!(held(&stage, there).await, [Funds::ZERO, funds("3", 0), funds("3", 0)]);
    let asks = [
        message(account, 1, 2, funds("1", 10), funds("2", 200)),
        opening(account, 8, funds("0.000000000001", 0)),
        closing(account, 1, 2, funds("1", 10)),
    ];
    let check = async |folded: usize| {
        for ask in &asks {
            assert_eq!(send(&stage, ask).await, Leased::Refolding, "{folded} folded: {ask:?}");
        }
        assert_eq!(stage.store.refolding().await.unwrap(), Some(HERE), "{folded} folded");
    };
    // The account is not there, but that it had leases is known.
    check(0).await;
    for (folded, record) in history(account).into_iter().enumerate() {
        stage.apply(HERE, &[record]).await;
        if folded < 5 {
            check(folded + 1).await;
        }
        // A reset in the middle of a fold forgets no floor.
        if folded == 3 {
            stage.store.reset().await.unwrap();
            stage.apply(HERE, &history(account)[..4]).await;
        }
    }
    assert_eq!(held(&stage, account).await, before.1);
    assert_eq!(
        send(&stage, &message(there, 4, 2, Funds::ZERO, funds("3", 0))).await,
        Leased::Refolding,
        "each by itself"
    );
    assert_eq!(stage.store.refolding().await.unwrap(), Some(THERE));
    stage.apply(THERE, &[open(there, 900), grant(there, 901, 901, usd("5"), 1)]).await;
    assert_eq!((leases(&stage).await, held(&stage, account).await, held(&stage, there).await), before);
    assert_eq!(stage.store.refolding().await.unwrap(), None);
    let need =
        LeaseRequest { need: funds("4.000000000001", 0), ..message(account, 1, 2, funds("1", 10), funds("2", 200)) };
    assert_eq!(renewed(&stage, &need).await.0.granted, funds("4.000000000001", 200));
}

pub(super) async fn a_lease_that_ends_in_a_reset_is_gone_when_it_is_folded_that_far(stage: Stage) {
    let account = rich(&stage, 0).await;
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("0.5", 50))).await;
    stage.apply(HERE, &postings(account)).await;
    stage.store.reset().await.unwrap();
    let close = CloseLeases { gateway_id: gateway_id(1), run_id: run_id(100) };
    assert_eq!(stage.store.partitions_of_runs(&close).await.unwrap(), [HERE]);
    assert_eq!(stage.store.end_leases(&close, &BTreeMap::from([(HERE, Offset(6))])).await.unwrap(), 1);
    let records = history(account);
    stage.apply(HERE, &records[..5]).await;
    assert_eq!((leases(&stage).await.len(), held(&stage, account).await[1]), (2, funds("1", 190)));
    stage.apply(HERE, &records[5..]).await;
    assert_eq!(leases(&stage).await.len(), 1);
    assert_eq!(held(&stage, account).await, [funds("3.250000000001", 940), Funds::ZERO, Funds::ZERO]);
}
