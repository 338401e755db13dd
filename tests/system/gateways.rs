//! `modelhub admin gateways`, in both modes: who may spend by itself, and what becomes of one that never comes back.

use std::sync::Arc;
use std::time::Duration;

use ledger::store::Leased;
use ledger::{PostgresStore, SqliteStore, Store};
use schemas::api::{Funds, LeaseRequest};
use schemas::{GatewayId, LeaseId, RunId, Timestamp};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(20);

/// The ledger's store of a running system.
async fn store(system: &System) -> Arc<dyn Store> {
    match system.variable("MODELHUB_POSTGRES__URL") {
        Some(url) => Arc::new(PostgresStore::open(url).await.expect("a store")),
        None => Arc::new(SqliteStore::open(&system.data_dir().join("ledger.sqlite")).await.expect("a store")),
    }
}

/// The gateways that are not the system's own: those of this test.
async fn others(system: &System) -> Vec<Value> {
    let all = system.admin(&["gateways"]).await;
    let others = all
        .as_array()
        .expect("a list")
        .iter()
        .filter(|row| row["gateway_id"].as_str() <= Some("00000000-0000-0000-0000-00000000ffff"));
    others.cloned().collect()
}

async fn one_that_never_comes_back_is_abandoned(system: System) {
    let (account, _) = system.open_account("ann@example.com").await;
    let store = store(&system).await;
    let id = |n: u128| Uuid::from_u128(n);
    // Not the embedded system's own, which is 1.
    for gateway in [5, 6] {
        let funds = Funds { usd: "1.5".parse().expect("money"), plan_tokens: 0 };
        let request = LeaseRequest {
            account_id: account.parse().expect("an id"),
            lease_id: LeaseId(id(gateway)),
            gateway_id: GatewayId(id(gateway)),
            run_id: RunId(id(gateway)),
            seq: 1,
            spent: Funds::ZERO,
            ceiling: Funds::ZERO,
            need: funds,
            wish: funds,
            close: false,
            requests: None,
        };
        let leased = store.lease(&request, Timestamp::from_micros(1_800_000_000_000_000)).await.expect("an answer");
        assert!(matches!(&leased, Leased::Renewed { lease, .. } if lease.granted == funds), "{leased:?}");
    }
    let row = |gateway: u128| {
        json!({
            "gateway_id": id(gateway), "leases": 1, "reserved_usd": "1.5", "reserved_plan_tokens": 0,
            "heard_of_at": "2027-01-15T08:00:00.000000Z",
        })
    };
    assert_eq!(others(&system).await, [row(5), row(6)]);
    let table = system.run(&["admin", "gateways"]).await;
    assert!(table.stdout.contains("00000000-0000-0000-0000-000000000006  1       1.5"), "{}", table.stdout);

    let unknown = system.try_admin(&["gateways", "abandon", &id(7).to_string()]).await.expect_err("it has none");
    assert!(unknown.contains(&format!("{} has no leases", id(7))), "{unknown}");
    let ended = system.admin(&["gateways", "abandon", &id(5).to_string()]).await;
    assert_eq!(ended, json!({"leases": 1}));
    let begun = Instant::now();
    while others(&system).await != [row(6)] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", others(&system).await);
        sleep(Duration::from_millis(100)).await;
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_systems_gateways_are_told_and_abandoned() {
    one_that_never_comes_back_is_abandoned(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distributed_systems_gateways_are_told_and_abandoned() {
    one_that_never_comes_back_is_abandoned(System::distributed().await).await;
}
