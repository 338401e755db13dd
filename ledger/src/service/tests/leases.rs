//! Leases as a gateway is told of them.

use schemas::api::{CloseLeases, Funds, LeaseRequest, Refusal};
use schemas::{AccountId, GatewayId, LeaseId, RunId};
use uuid::Uuid;

use super::{LedgerError, done, opened, refusal, stranger, usd};
use crate::rig::Rig;
use crate::service::LEASE_TTL;

fn money(amount: &str) -> Funds {
    Funds { usd: usd(amount), plan_tokens: 0 }
}

/// A message that opens a lease of its own gateway.
fn opening(account_id: AccountId, lease: u128, need: &str, wish: &str) -> LeaseRequest {
    LeaseRequest {
        account_id,
        lease_id: LeaseId(Uuid::from_u128(lease)),
        gateway_id: GatewayId(Uuid::from_u128(lease)),
        run_id: RunId(Uuid::from_u128(lease)),
        seq: 1,
        spent: Funds::ZERO,
        ceiling: Funds::ZERO,
        need: money(need),
        wish: money(wish),
        close: false,
        requests: None,
    }
}

#[tokio::test]
async fn a_grant_says_how_much_for_how_long_and_what_may_come_back() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let check = async |request: LeaseRequest, granted: &str, tight: bool, idle_elsewhere: &str| {
        let view = done(rig.ledger.account(account).await);
        let grant = done(rig.ledger.lease(request).await);
        let told = (grant.lease_id, grant.seq, grant.granted, grant.ttl_ms, grant.tight, grant.idle_elsewhere);
        let (id, seq) = (request.lease_id, request.seq);
        assert_eq!(told, (id, seq, money(granted), 10_000, tight, money(idle_elsewhere)), "{request:?}");
        assert_eq!(grant.account.balance_usd, view.balance_usd);
    };
    let first = opening(account, 1, "0.1", "1");
    check(first, "1", false, "0").await;
    check(opening(account, 2, "0.1", "4"), "1", true, "1").await;
    let spent = LeaseRequest { seq: 2, spent: money("0.25"), ceiling: money("1"), wish: money("1"), ..first };
    check(spent, "1", false, "1").await;
    check(opening(account, 3, "0", "0"), "0", false, "1.75").await;
    let close = LeaseRequest { seq: 3, ceiling: money("0.25"), need: Funds::ZERO, close: true, ..spent };
    check(LeaseRequest { wish: Funds::ZERO, ..close }, "0.25", false, "1").await;
    assert_eq!(LEASE_TTL.as_millis(), 10_000);
}

#[tokio::test]
async fn a_message_that_must_not_count_is_refused_by_name() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let refused = async |request| refusal(rig.ledger.lease(request).await);
    let first = opening(account, 1, "1", "1");
    done(rig.ledger.lease(first).await);
    let lease_id = first.lease_id;
    assert_eq!(refused(first).await, Refusal::StaleLease { lease_id, seq: 1, last: 1 });
    assert_eq!(
        refused(opening(stranger(), 2, "1", "1")).await,
        Refusal::UnknownAccount { account: stranger().to_string() }
    );
    let unknown = LeaseId(Uuid::from_u128(9));
    let claims = LeaseRequest { lease_id: unknown, seq: 2, spent: money("1"), ceiling: money("1"), ..first };
    assert_eq!(refused(claims).await, Refusal::UnknownLease { lease_id: unknown, account_id: account });
    let Refusal::Invalid { field, detail } =
        refused(LeaseRequest { seq: 2, ceiling: money("1.000000000001"), ..first }).await
    else {
        panic!("not called invalid")
    };
    assert!(field == "lease" && detail.contains(&lease_id.to_string()), "{detail}");
}

#[tokio::test]
async fn nothing_is_granted_while_the_store_is_folded_again() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let first = opening(account, 1, "1", "1");
    done(rig.ledger.lease(first).await);
    rig.store.reset().await.unwrap();
    let Err(error) = rig.ledger.lease(LeaseRequest { seq: 2, ceiling: money("1"), ..first }).await else {
        panic!("granted")
    };
    assert!(matches!(&error, LedgerError::Unavailable(why) if why.contains("folded again")), "{error}");
}

#[tokio::test]
async fn the_leases_of_a_gateways_earlier_runs_end_where_the_log_does() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let reserved = async || {
        let gateways = done(rig.ledger.leased_gateways().await);
        gateways.iter().map(|gateway| (gateway.leases, gateway.reserved)).collect::<Vec<_>>()
    };
    done(rig.ledger.lease(opening(account, 1, "1", "1")).await);
    done(rig.ledger.lease(opening(account, 2, "2", "2")).await);
    assert_eq!(done(rig.ledger.close_leases(close(1, 1)).await).leases, 0, "its own run");
    assert_eq!(reserved().await, [(1, money("1")), (1, money("2"))]);
    assert_eq!(done(rig.ledger.close_leases(close(1, 2)).await).leases, 1);
    done(rig.ledger.catch_up().await);
    assert_eq!(reserved().await, [(1, money("2"))]);
    assert_eq!(done(rig.ledger.close_leases(close(1, 2)).await).leases, 0, "again");
}

fn close(gateway: u128, run: u128) -> CloseLeases {
    CloseLeases { gateway_id: GatewayId(Uuid::from_u128(gateway)), run_id: RunId(Uuid::from_u128(run)) }
}
