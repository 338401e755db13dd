//! The leases of runs that are no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::store::{AFTER_ALL, Leased};
use schemas::api::{CloseLeases, Funds, LeaseRequest};
use schemas::{Offset, PartitionId, Timestamp};
use sqlx::{PgPool, query};
use tokio::time::sleep;

use super::events::{grant, leased, open, usd};
use super::leases::{HERE, closing, funds, gateway_id, held, lease_id, leases, opening, renewed, rich, run_id, send};
use super::stage::{Stage, account_in};

/// Run 100 of gateway 1 says that the runs before it are over.
fn restarted() -> CloseLeases {
    CloseLeases { gateway_id: gateway_id(1), run_id: run_id(100) }
}

const THERE: PartitionId = PartitionId(21);

/// The leases that are left, by their numbers, each with where it ends.
async fn left(stage: &Stage) -> Vec<String> {
    let left = "SELECT substr({id:lease_id}, 32) || ' ' || coalesce(ends_at, -1) FROM leases ORDER BY lease_id";
    stage.rows(left).await
}

async fn end(stage: &Stage, close: &CloseLeases, ends: &[(PartitionId, u64)]) -> u64 {
    let ends: BTreeMap<_, _> = ends.iter().map(|(partition, end)| (*partition, Offset(*end))).collect();
    stage.store.end_leases(close, &ends).await.unwrap()
}

pub(super) async fn a_dead_runs_leases_end_when_the_log_is_folded_that_far(stage: Stage) {
    let (account, other) = (rich(&stage, 0).await, rich(&stage, 1).await);
    let there = account_in(THERE, 0);
    stage.apply(THERE, &[open(there, 900), grant(there, 901, 901, usd("5"), 1)]).await;
    let of_one = |request: LeaseRequest| LeaseRequest { gateway_id: gateway_id(1), ..request };
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("0.5", 50))).await;
    renewed(&stage, &LeaseRequest { run_id: run_id(100), ..of_one(opening(account, 3, funds("0.25", 25))) }).await;
    renewed(&stage, &of_one(opening(other, 4, funds("1", 100)))).await;
    renewed(&stage, &of_one(opening(there, 5, funds("1", 0)))).await;
    renewed(&stage, &of_one(closing(other, 4, 2, funds("0.75", 75)))).await;
    let close = restarted();
    assert_eq!(stage.store.partitions_of_runs(&close).await.unwrap(), [HERE, THERE]);

    // A message of a run before, late: it ends nothing of the run that is.
    assert_eq!(end(&stage, &CloseLeases { run_id: run_id(1), ..close }, &[(HERE, 0)]).await, 0);
    assert_eq!(leases(&stage).await.len(), 5);
    // The dead run's last two events are in the log, and not folded. Another partition is not asked about.
    assert_eq!(end(&stage, &close, &[(HERE, 8)]).await, 2, "an open lease, and one that is closed and not all posted");
    assert_eq!(left(&stage).await, ["1 8", "2 -1", "3 -1", "4 8", "5 -1"]);
    assert_eq!(stage.store.partitions_of_runs(&close).await.unwrap(), [THERE]);
    assert_eq!(end(&stage, &close, &[(HERE, 9)]).await, 0, "once is enough");
    assert_eq!(held(&stage, account).await[1], funds("2.75", 275), "nothing is free yet");

    stage.apply(HERE, &[leased(account, 1, lease_id(1), 10, 1_000_000)]).await;
    assert_eq!(held(&stage, account).await, [funds("4.000000000001", 990), funds("1.75", 265), Funds::ZERO]);
    assert_eq!(left(&stage).await.len(), 5);
    // The other account has no record in the batch that folds the partition that far.
    stage.apply(HERE, &[leased(account, 2, lease_id(1), 0, 500_000)]).await;
    assert_eq!(left(&stage).await, ["2 -1", "3 -1", "5 -1"]);
    assert_eq!(held(&stage, account).await, [funds("3.500000000001", 990), funds("0.75", 75), Funds::ZERO]);
    assert_eq!(held(&stage, other).await, [funds("5.000000000001", 1_000), Funds::ZERO, Funds::ZERO]);
    assert_eq!(held(&stage, there).await, [funds("5", 0), funds("1", 0), Funds::ZERO]);
}

pub(super) async fn a_dead_runs_leases_end_at_once_where_it_is_folded_that_far(stage: Stage) {
    let (account, other) = (rich(&stage, 0).await, rich(&stage, 1).await);
    let of_one = |request: LeaseRequest| LeaseRequest { gateway_id: gateway_id(1), ..request };
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    renewed(&stage, &opening(account, 2, funds("0.5", 50))).await;
    renewed(&stage, &of_one(opening(other, 3, funds("1", 100)))).await;
    assert_eq!(end(&stage, &restarted(), &[(HERE, 6)]).await, 2);
    assert_eq!(left(&stage).await, ["2 -1"]);
    assert_eq!(held(&stage, account).await, [funds("5.000000000001", 1_000), funds("0.5", 50), Funds::ZERO]);
    assert_eq!(held(&stage, other).await, [funds("5.000000000001", 1_000), Funds::ZERO, Funds::ZERO]);
    assert!(leases(&stage).await[0].contains(" open -1 "));
}

/// A message that opens a lease may be heard when its run is over, and has been said to be: nobody would ever end that lease.
pub(super) async fn a_run_that_is_over_opens_no_lease(stage: Stage) {
    let account = rich(&stage, 0).await;
    let of_run = |run, lease| {
        let request = opening(account, lease, funds("1", 0));
        LeaseRequest { gateway_id: gateway_id(1), run_id: run_id(run), ..request }
    };
    let open = renewed(&stage, &of_run(99, 1)).await.0;
    assert_eq!(end(&stage, &restarted(), &[]).await, 0);
    assert_eq!(send(&stage, &of_run(99, 2)).await, Leased::RunIsOver);
    assert_eq!(held(&stage, account).await[1], funds("1", 0));
    // What is open already is spent from until it ends.
    let more = LeaseRequest { seq: 2, ceiling: open.granted, need: funds("2", 0), ..of_run(99, 1) };
    assert_eq!(renewed(&stage, &more).await.0.granted, funds("2", 0));
    for (run, lease, granted) in [(100, 3, "3"), (101, 4, "4")] {
        renewed(&stage, &of_run(run, lease)).await;
        assert_eq!(held(&stage, account).await[1], funds(granted, 0));
    }
    // Said late, by a run before: nothing goes back.
    assert_eq!(end(&stage, &CloseLeases { run_id: run_id(98), ..restarted() }, &[]).await, 0);
    assert_eq!(send(&stage, &of_run(99, 5)).await, Leased::RunIsOver);
    // Another gateway's runs are others.
    renewed(&stage, &LeaseRequest { gateway_id: gateway_id(2), ..of_run(7, 6) }).await;
    // A reset forgets none of it. An operator who gives up a gateway's spool refuses none of its runs.
    stage.store.reset().await.unwrap();
    rich(&stage, 0).await;
    assert_eq!(send(&stage, &of_run(99, 7)).await, Leased::RunIsOver);
    assert_eq!(end(&stage, &CloseLeases { run_id: AFTER_ALL, ..restarted() }, &[(HERE, 3)]).await, 3);
    renewed(&stage, &of_run(100, 8)).await;
}

/// A batch that is being committed when its end is asked for has not seen that leases end there, and no other may come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_under_way_leaves_nothing_reserved() {
    let stage = Stage::postgres().await;
    let pool = PgPool::connect(stage.url()).await.unwrap();
    let account = rich(&stage, 0).await;
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;

    let mut under_way = pool.begin().await.unwrap();
    query("UPDATE positions SET next_offset = 4").execute(&mut *under_way).await.unwrap();
    let store = Arc::clone(&stage.store);
    let ends = BTreeMap::from([(HERE, Offset(4))]);
    let ending = tokio::spawn(async move { store.end_leases(&restarted(), &ends).await });
    sleep(Duration::from_millis(500)).await;
    under_way.commit().await.unwrap();
    assert_eq!(ending.await.unwrap().unwrap(), 1);
    assert_eq!(leases(&stage).await, [] as [String; 0]);
    assert_eq!(held(&stage, account).await[1], Funds::ZERO);
}

/// A ledger that stands still holds an account's funds; whoever asks about them has a connection, and there are few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever_for_an_accounts_funds() {
    let stage = Stage::postgres().await;
    let pool = PgPool::connect(stage.url()).await.unwrap();
    let account = rich(&stage, 0).await;
    renewed(&stage, &opening(account, 1, funds("2", 200))).await;
    let mut standing_still = pool.begin().await.unwrap();
    query("SELECT usd FROM funds FOR UPDATE").execute(&mut *standing_still).await.unwrap();
    let (ask, ends) = (opening(account, 2, funds("1", 0)), BTreeMap::from([(HERE, Offset(3))]));
    let close = restarted();
    let (asked, ended) =
        tokio::join!(stage.store.lease(&ask, Timestamp::from_micros(1)), stage.store.end_leases(&close, &ends));
    for error in [asked.unwrap_err(), ended.unwrap_err()] {
        assert!(error.to_string().contains("lock timeout"), "{error}");
    }
    standing_still.rollback().await.unwrap();
    assert_eq!(end(&stage, &close, &[(HERE, 3)]).await, 1);
    assert_eq!(renewed(&stage, &ask).await.0.granted, funds("1", 0));
}
