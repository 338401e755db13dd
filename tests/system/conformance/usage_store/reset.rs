//! Dropping all of it, and counting again.

use std::collections::BTreeMap;
use std::pin::pin;

use eventlog::Sink;
use projector::Grain;
use schemas::{Offset, PartitionId};

use super::crashes::until_wait;
use super::engine::{Engine, on_both};
use super::model::Model;
use super::requests::{PARTITION, Request, batch, record, sink_of};

on_both! {
    a_reset_leaves_nothing_and_the_log_gives_it_again,
}

/// An insert that is under way while the store is emptied, stopped at any point and gone on with afterwards: what it brings must not
/// move the position of the new table, or the log's first records would be left out.
#[tokio::test]
async fn clickhouse_refuses_what_was_under_way_when_it_was_emptied() {
    let engine = Engine::clickhouse().await;
    let requests: Vec<_> = (0..12).map(|id| Request::new(id, AT)).collect();
    let log: Vec<_> = requests.iter().map(|request| record(&request.event())).collect();
    let mut model = Model::default();
    requests.iter().for_each(|request| model.read(PARTITION, request));
    for waits in 1..=12 {
        let (slow, other) = (engine.open().await, engine.open().await);
        other.reset().await.unwrap();
        let sink = sink_of(&slow, 1);
        assert_eq!(sink.position(PARTITION).await.unwrap(), Offset(0));
        sink.apply(batch(PARTITION, &log, Offset(0), 4)).await.unwrap();
        let mut late = pin!(sink.apply(batch(PARTITION, &log, Offset(4), 4)));
        let ended = until_wait(waits, late.as_mut()).await;
        other.reset().await.unwrap();
        if ended.is_none() {
            // It may have been taken before: then it went with the table.
            let _ = late.await;
        }
        let sink = sink_of(&other, 1);
        assert_eq!(sink.position(PARTITION).await.unwrap(), Offset(0), "{waits} waits");
        for from in (0..12).step_by(3) {
            sink.apply(batch(PARTITION, &log, Offset(from), 3)).await.unwrap();
        }
        for grain in [Grain::Event, Grain::Hour] {
            assert_eq!(other.totals(grain).await.unwrap(), model.totals(), "{waits} waits");
        }
    }

    // At the log's begin the positions of both tables are alike, and only the table's epoch tells them apart.
    let (slow, other) = (engine.open().await, engine.open().await);
    other.reset().await.unwrap();
    let sink = sink_of(&slow, 1);
    assert_eq!(sink.position(PARTITION).await.unwrap(), Offset(0));
    other.reset().await.unwrap();
    let refused = sink.apply(batch(PARTITION, &log, Offset(0), 4)).await.unwrap_err().to_string();
    assert!(refused.contains("of_this_table"), "{refused}");
    assert_eq!(sink_of(&other, 1).position(PARTITION).await.unwrap(), Offset(0));
}

const AT: &str = "2026-11-01T08:10:00Z";
const OTHER: PartitionId = PartitionId(1);

async fn a_reset_leaves_nothing_and_the_log_gives_it_again(engine: Engine) {
    let requests: Vec<_> = (0..40).map(|id| Request::new(id, AT).of(1 + id % 8)).collect();
    let home = |request: &Request| eventlog::partition::of(request.event().subject, 2);
    let of = |partition| requests.iter().filter(|request| home(request) == partition).cloned().collect::<Vec<_>>();
    let logs = [PARTITION, OTHER].map(|partition| (partition, of(partition)));
    let mut model = Model::default();
    for (partition, requests) in &logs {
        assert!(requests.len() > 5, "both partitions have some");
        requests.iter().for_each(|request| model.read(*partition, request));
    }
    let mut store = engine.open().await;
    // Other batches each time; the second time the store is opened anew, the third it is not.
    for records in [100, 3, 7] {
        for (partition, requests) in &logs {
            assert_eq!(store.position(*partition).await, Ok(Offset(0)));
            let log: Vec<_> = requests.iter().map(|request| record(&request.event())).collect();
            let sink = sink_of(&store, 2);
            for from in (0..log.len() as u64).step_by(records) {
                sink.apply(batch(*partition, &log, Offset(from), records)).await.unwrap();
            }
            assert_eq!(store.position(*partition).await, Ok(Offset(log.len() as u64)));
        }
        for grain in [Grain::Event, Grain::Hour] {
            assert_eq!(store.totals(grain).await.unwrap(), model.totals(), "batches of {records}");
        }
        store.reset().await.unwrap();
        for grain in [Grain::Event, Grain::Hour] {
            assert_eq!(store.totals(grain).await.unwrap(), BTreeMap::default(), "batches of {records}");
        }
        if records == 100 {
            store = engine.open().await;
        }
    }
    // There is nothing to drop any more.
    store.reset().await.unwrap();
    assert_eq!(store.position(PARTITION).await, Ok(Offset(0)));
}
