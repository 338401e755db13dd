//! A ledger that stands still (SIGSTOP) for longer than its session, and wakes up as one that nobody counts on.

use std::sync::Arc;
use std::time::Duration;

use tests::process::Process;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep};

use super::group::Group;
use super::producer::{Producer, Random};
use super::{SEED, load, number};
use crate::books;

/// How long it may take until something is seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Stops it where it is; on return it does.
async fn stand_still(process: &Process) {
    let status = format!("/proc/{}/stat", process.pid().unwrap());
    process.pause();
    let begun = Instant::now();
    // `pid (name) state …`
    while !std::fs::read_to_string(&status).unwrap().contains(") T ") {
        assert!(begun.elapsed() < PATIENCE, "it does not stand still");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_moves_nothing() {
    let seed = number("MODELHUB_TEST_SEED", SEED);
    let group = Group::start().await;
    let log = books::log(&group.system).await;
    let producer = Arc::new(Mutex::new(Producer::new(Arc::clone(&log), seed)));
    let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    let load = tokio::spawn(load(Arc::clone(&producer), Arc::clone(&permits)));
    let mut random = Random(!seed);
    for round in 0..2 {
        group.caught_up(&log).await;
        sleep(Duration::from_millis(random.below(700))).await;
        let zombie = group.ledger(round);
        stand_still(zombie).await;
        sleep(group.system.session_timeout() * 2).await;
        // The other one has all partitions, and goes on.
        group.caught_up(&log).await;
        zombie.resume();
        let audit = group.system.run(&["audit", "--json"]).await;
        books::nothing_differs(&audit, &format!("seed {seed}"));
    }
    permits.close();
    load.await.unwrap();
    group.caught_up(&log).await;
    books::applied(&group.system).await;
    group.comes_back_from_the_log(&*producer.lock().await, &format!("seed {seed}")).await;
}

/// The row of a position is locked by whoever commits: one that stops there would hold it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_stands_still_in_a_commit_holds_nobody_up() {
    let group = Group::start().await;
    let log = books::log(&group.system).await;
    let mut producer = Producer::new(Arc::clone(&log), SEED);
    producer.append(200).await;
    group.caught_up(&log).await;
    group.shared_out().await;

    let mut gate = group.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE postings IN SHARE MODE").execute(&mut *gate).await.unwrap();
    producer.append(400).await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&group.pool).await.unwrap() < log.partitions().into() {
        assert!(begun.elapsed() < PATIENCE, "not every partition's commit waits at the gate");
        sleep(Duration::from_millis(20)).await;
    }
    let zombie = group.ledger(0);
    stand_still(zombie).await;
    gate.rollback().await.unwrap();
    group.caught_up(&log).await;

    zombie.resume();
    producer.append(200).await;
    group.caught_up(&log).await;
    group.comes_back_from_the_log(&producer, "after a commit that stood still").await;
}
