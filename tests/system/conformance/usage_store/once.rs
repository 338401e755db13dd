//! Each event counts once, and only what the ledger posts does.

use std::sync::Arc;

use bytes::Bytes;
use eventlog::{Sink, SinkError};
use projector::{Grain, ProjectorSink, UsageStore};
use schemas::catalogue::PlanTerms;
use schemas::event::AccountOpenedV1;
use schemas::{Event, EventData, Offset, PartitionId, Usd};

use super::engine::{Engine, on_both};
use super::model::Model;
use super::requests::{PARTITION, Request, batch, record, sink_of};

on_both! {
    repeats_count_once,
    repeats_in_a_large_batch_count_once,
    what_the_ledger_quarantines_does_not_count,
    events_of_another_partitions_accounts_do_not_count,
    a_batch_elsewhere_is_refused_whole,
    records_without_usage_are_passed,
    the_first_of_two_projectors_wins,
}

const AT: &str = "2026-11-01T08:10:00Z";

fn sink(store: &Arc<dyn UsageStore>) -> ProjectorSink {
    sink_of(store, 1)
}

fn usage(ids: impl IntoIterator<Item = u128>) -> Vec<Bytes> {
    ids.into_iter().map(|id| record(&Request::new(id, AT).event())).collect()
}

fn opened(id: u128) -> Bytes {
    let plan = PlanTerms {
        id: "free".to_owned(),
        price_usd: Usd::ZERO,
        tokens_per_month: 0,
        rollover_tokens: 0,
        requests_per_minute: 10,
        max_in_flight: 2,
        max_keys: Some(2),
        trial_credit_usd: Usd::ZERO,
    };
    let Event { id, source, subject, time, .. } = Request::new(id, AT).event();
    record(&Event { id, source, subject, time, data: EventData::AccountOpened(AccountOpenedV1 { plan }) })
}

/// Facts and rollups are those of `ids`, each once.
async fn check(store: &dyn UsageStore, ids: impl IntoIterator<Item = u128>) {
    let mut model = Model::default();
    ids.into_iter().for_each(|id| model.read(PARTITION, &Request::new(id, AT)));
    assert_eq!(store.totals(Grain::Event).await.unwrap(), model.totals());
    assert_eq!(store.totals(Grain::Hour).await.unwrap(), model.totals());
}

async fn repeats_count_once(engine: Engine) {
    let log = usage([1, 2, 1, 2, 3, 3, 1, 4, 2, 4]);
    let store = engine.open().await;
    sink(&store).apply(batch(PARTITION, &log, Offset(0), 3)).await.unwrap();
    check(store.as_ref(), [1, 2]).await;
    sink(&store).apply(batch(PARTITION, &log, store.position(PARTITION).await.unwrap(), 3)).await.unwrap();
    check(store.as_ref(), [1, 2, 3]).await;
    let store = engine.open().await;
    let from = store.position(PARTITION).await.unwrap();
    assert!(from >= Offset(5), "the facts before it are held: {from}");
    sink(&store).apply(batch(PARTITION, &log, from, 10)).await.unwrap();
    check(store.as_ref(), [1, 2, 3, 4]).await;
    assert_eq!(store.position(PARTITION).await, Ok(Offset(10)));
}

/// Larger than what either adapter does in one statement.
async fn repeats_in_a_large_batch_count_once(engine: Engine) {
    let log = usage((0..4_500).chain((0..4_500).rev()).chain(4_000..5_000));
    let store = engine.open().await;
    sink(&store).apply(batch(PARTITION, &log, Offset(0), 7_000)).await.unwrap();
    check(store.as_ref(), 0..4_500).await;
    let from = store.position(PARTITION).await.unwrap();
    assert_eq!(from, Offset(7_000));
    sink(&store).apply(batch(PARTITION, &log, from, 10_000)).await.unwrap();
    check(store.as_ref(), 0..5_000).await;
}

async fn what_the_ledger_quarantines_does_not_count(engine: Engine) {
    let mut inconsistent = Request::new(4, AT);
    inconsistent.tokens.reasoning = 11;
    let log = [
        Bytes::from_static(b"\xff\x00garbage"),
        record(&Request::new(1, AT).lie()),
        record(&Request::new(2, AT).charging(1_000_000, 9_000_000_000_000).lie()),
        record(&Request::new(3, AT).with(11, "nul\0").event()),
        record(&inconsistent.event()),
        // The id of the lie was never posted, so the truth counts.
        record(&Request::new(1, AT).event()),
        opened(5),
        record(&Request::new(5, AT).event()),
    ];
    let store = engine.open().await;
    sink(&store).apply(batch(PARTITION, &log, Offset(0), 10)).await.unwrap();
    check(store.as_ref(), [1, 5]).await;
}

/// In a log of two partitions some of the accounts are not at home in this one.
async fn events_of_another_partitions_accounts_do_not_count(engine: Engine) {
    let requests: Vec<_> = (1..=8).map(|account| Request::new(account, AT).of(account)).collect();
    let log: Vec<_> = requests.iter().map(|request| record(&request.event())).collect();
    let store = engine.open().await;
    sink_of(&store, 2).apply(batch(PARTITION, &log, Offset(0), 10)).await.unwrap();
    let mut model = Model::default();
    let at_home = |request: &&Request| eventlog::partition::of(request.event().subject, 2) == PARTITION;
    requests.iter().filter(at_home).for_each(|request| model.read(PARTITION, request));
    assert!((1..8).contains(&model.totals().len()));
    assert_eq!(store.totals(Grain::Hour).await.unwrap(), model.totals());
}

async fn a_batch_elsewhere_is_refused_whole(engine: Engine) {
    let log = usage(0..10);
    let store = engine.open().await;
    sink(&store).apply(batch(PARTITION, &log, Offset(0), 4)).await.unwrap();
    for from in [0, 3, 5, 9] {
        let refused = sink(&store).apply(batch(PARTITION, &log, Offset(from), 2)).await;
        assert!(matches!(refused, Err(SinkError::Moved)), "{from}: {refused:?}");
    }
    check(store.as_ref(), 0..4).await;
    assert_eq!(store.position(PARTITION).await, Ok(Offset(4)));
    assert_eq!(store.position(PartitionId(1)).await, Ok(Offset(0)));
}

async fn records_without_usage_are_passed(engine: Engine) {
    let mut log = usage([1]);
    log.extend((100..105).map(opened));
    log.extend(usage([1, 2]));
    log.extend((200..203).map(opened));
    let store = engine.open().await;
    for from in 0..11 {
        assert_eq!(store.position(PARTITION).await, Ok(Offset(from)));
        sink(&store).apply(batch(PARTITION, &log, Offset(from), 1)).await.unwrap();
    }
    check(store.as_ref(), [1, 2]).await;
    let store = engine.open().await;
    let from = store.position(PARTITION).await.unwrap();
    assert!((Offset(8)..=Offset(11)).contains(&from), "{from}");
    sink(&store).apply(batch(PARTITION, &log, from, 10)).await.unwrap();
    check(store.as_ref(), [1, 2]).await;
}

async fn the_first_of_two_projectors_wins(engine: Engine) {
    let mut log = usage([1]);
    log.extend((100..103).map(opened));
    log.extend(usage([2, 3, 4, 2, 5, 6]));
    let (first, second) = (engine.open().await, engine.open().await);
    sink(&first).apply(batch(PARTITION, &log, Offset(0), 2)).await.unwrap();
    sink(&first).apply(batch(PARTITION, &log, Offset(2), 2)).await.unwrap();
    // The second resumes at its own idea of the position; both batches begin with the same event.
    let from = second.position(PARTITION).await.unwrap();
    sink(&second).apply(batch(PARTITION, &log, from, 5)).await.unwrap();
    let late = sink(&first).apply(batch(PARTITION, &log, Offset(4), 4)).await;
    assert!(matches!(late, Err(SinkError::Moved)), "{late:?}");
    let from = first.position(PARTITION).await.unwrap();
    sink(&first).apply(batch(PARTITION, &log, from, 10)).await.unwrap();
    check(first.as_ref(), 1..=6).await;
    let late = sink(&second).apply(batch(PARTITION, &log, from, 1)).await;
    assert!(matches!(late, Err(SinkError::Moved)), "{late:?}");
    check(second.as_ref(), 1..=6).await;
}
