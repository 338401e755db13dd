//! Dropping all of it, and counting again.

use std::sync::Arc;

use eventlog::Sink;
use projector::{Grain, ProjectorSink};
use schemas::{Offset, PartitionId};

use super::engine::{Engine, on_both};
use super::model::Model;
use super::requests::{PARTITION, Request, batch, record};

on_both! {
    a_reset_leaves_nothing_and_the_log_gives_it_again,
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
            let sink = ProjectorSink::new(Arc::clone(&store), 2);
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
            assert_eq!(store.totals(grain).await.unwrap(), Default::default(), "batches of {records}");
        }
        if records == 100 {
            store = engine.open().await;
        }
    }
    // There is nothing to drop any more.
    store.reset().await.unwrap();
    assert_eq!(store.position(PARTITION).await, Ok(Offset(0)));
}
