//! Crashes at any point leave each event counted once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use eventlog::{Sink, SinkError};
use projector::{ClickHouseStore, Grain, UsageStore};
use schemas::{Offset, PartitionId};

use super::engine::{Engine, on_both};
use super::model::Model;
use super::requests::{PARTITION, Request, batch, record, sink_of};

on_both! {
    a_crash_at_any_point_leaves_all_of_a_batch_or_nothing,
    projectors_that_race_count_each_event_once,
}

const AT: &str = "2026-11-01T08:10:00Z";
/// Records of one batch.
const BATCH: u64 = 4;
/// Batches, each with one crash.
const ROUNDS: u64 = 24;
/// More than a store's `insert` ever waits.
const MOST_WAITS: u64 = 12;

/// The n-th record's event. In a batch the second repeats the first and the third the last of the batch before; the last
/// is new, so that the batch's end is every store's position.
fn id(record: u64) -> u128 {
    u128::from(match record % 4 {
        1 => record - 1,
        2 if record > 2 => record - 3,
        _ => record,
    })
}

fn log(records: u64) -> Vec<Bytes> {
    (0..records).map(|record| self::record(&Request::new(id(record), AT).event())).collect()
}

async fn check(store: &dyn UsageStore, records: u64) {
    let mut model = Model::default();
    (0..records).for_each(|record| model.read(PARTITION, &Request::new(id(record), AT)));
    assert_eq!(store.totals(Grain::Event).await.unwrap(), model.totals(), "{records} records");
    assert_eq!(store.totals(Grain::Hour).await.unwrap(), model.totals(), "{records} records");
}

/// Takes batches of `records` until the end of the log, as the log's partition loop does.
async fn run(store: &Arc<dyn UsageStore>, log: &[Bytes], records: usize) {
    let sink = sink_of(store, 1);
    loop {
        let mut from = sink.position(PARTITION).await.unwrap();
        while from < Offset(log.len() as u64) {
            let batch = batch(PARTITION, log, from, records);
            from = batch.next;
            match sink.apply(batch).await {
                Ok(()) => {}
                Err(SinkError::Moved) => break,
                Err(error) => panic!("{error}"),
            }
        }
        if from >= Offset(log.len() as u64) && sink.position(PARTITION).await.unwrap() == from {
            return;
        }
    }
}

/// Drops `future` when it has waited for the `waits`-th time; nothing where it was faster.
pub(super) async fn until_wait<T>(waits: u64, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), waits);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

async fn a_crash_at_any_point_leaves_all_of_a_batch_or_nothing(engine: Engine) {
    let log = log(ROUNDS * BATCH);
    let mut crashes = 0;
    for round in 0..ROUNDS {
        let (from, next) = (Offset(round * BATCH), Offset((round + 1) * BATCH));
        let store = engine.open().await;
        let sink = sink_of(&store, 1);
        assert_eq!(sink.position(PARTITION).await.unwrap(), from);
        let cut = batch(PARTITION, &log, from, usize::try_from(BATCH).unwrap());
        match until_wait(1 + round % MOST_WAITS, sink.apply(cut.clone())).await {
            None => crashes += 1,
            Some(applied) => applied.unwrap(),
        }
        drop((sink, store));
        let store = engine.open().await;
        let sink = sink_of(&store, 1);
        let held = sink.position(PARTITION).await.unwrap();
        assert!(held == from || held == next, "{held} is within the batch from {from} to {next}");
        // What was on its way to the engine when its sender died may still arrive, now or later.
        match sink.apply(cut).await {
            Ok(()) | Err(SinkError::Moved) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(sink.position(PARTITION).await.unwrap(), next);
        check(store.as_ref(), next.0).await;
    }
    assert!(crashes > 0);
}

async fn projectors_that_race_count_each_event_once(engine: Engine) {
    let log = log(90);
    let [one, two, three] = [engine.open().await, engine.open().await, engine.open().await];
    tokio::join!(run(&one, &log, 3), run(&two, &log, 4), run(&three, &log, 3));
    check(one.as_ref(), 90).await;
}

/// A server may die after it noted an insert's token and before it kept the insert's rows.
#[tokio::test]
async fn clickhouse_may_lose_an_insert_and_remember_its_token() {
    let engine = Engine::clickhouse().await;
    let store = engine.open().await;
    let log = log(8);
    let sink = sink_of(&store, 1);
    sink.apply(batch(PARTITION, &log, Offset(0), 4)).await.unwrap();
    let Engine::ClickHouse(database) = &engine else { unreachable!() };
    let sql = "SELECT any(epoch) FROM usage_charges";
    let epoch = database.client().query(sql).fetch_one::<u64>().await.unwrap();
    for generation in 0..2 {
        // Rows of another partition stand for those that were lost.
        let sql = "INSERT INTO usage_charges (log_partition, log_offset, epoch) VALUES (7, ?, ?)";
        let insert = database.client().query(sql).bind(generation).bind(epoch).with_setting("async_insert", "0");
        insert.with_setting("insert_deduplication_token", format!("0:4:{generation}")).execute().await.unwrap();
    }
    sink.apply(batch(PARTITION, &log, Offset(4), 4)).await.unwrap();
    assert_eq!(engine.open().await.position(PARTITION).await, Ok(Offset(8)));
    assert_eq!(store.position(PartitionId(7)).await, Ok(Offset(2)), "both stand-ins were taken");
    let sql = "ALTER TABLE usage_charges DELETE WHERE log_partition = 7 SETTINGS mutations_sync = 1";
    database.client().query(sql).execute().await.unwrap();
    check(store.as_ref(), 8).await;
}

/// The server, not the projector, is killed while it works.
#[tokio::test]
async fn clickhouse_killed_at_any_point_counts_each_event_once() {
    let server = tests::clickhouse::start().await;
    let database = server.database().await;
    // Pooled connections may be to the server that was killed, several of them.
    let open = async || loop {
        if let Ok(store) = ClickHouseStore::with_client(database.client(), database.name()).await {
            break Arc::new(store) as Arc<dyn UsageStore>;
        }
    };
    let log = log(300);
    for millis in [20, 45, 70] {
        let store = open().await;
        let killed = AtomicBool::new(false);
        let work = async {
            let sink = sink_of(&store, 1);
            // As the log's partition loop does: whatever the trouble, the position is asked for again.
            let from = loop {
                match sink.position(PARTITION).await {
                    Ok(from) => break from,
                    Err(_) if killed.load(Ordering::SeqCst) => return,
                    Err(_) => {}
                }
            };
            for first in (from.0..300).step_by(2) {
                if sink.apply(batch(PARTITION, &log, Offset(first), 2)).await.is_err() {
                    break;
                }
            }
        };
        let kill = async {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            server.kill9().await;
            killed.store(true, Ordering::SeqCst);
        };
        tokio::join!(work, kill);
        server.start_again().await;
    }
    let store = open().await;
    run(&store, &log, 50).await;
    check(store.as_ref(), 300).await;
}
