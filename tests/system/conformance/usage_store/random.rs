//! Random logs in random batches, against the plain model.

use std::collections::BTreeMap;

use bytes::Bytes;
use eventlog::Sink;
use projector::Grain;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use schemas::api::{Bucket, GroupBy, UsageQuery};
use schemas::{AccountId, PartitionId, Timestamp, TokenCounts};
use uuid::Uuid;

use super::engine::Engine;
use super::model::{Counted, Model};
use super::requests::{Request, batch, record, sink_of};

const PARTITIONS: u32 = 3;
const HOUR: i64 = 3_600_000_000;

#[derive(Clone, Debug)]
enum Step {
    Usage(Request),
    /// A correction, with an event id of its own, of the first request to the second's tokens, at the second's time.
    Correction(u128, Request, Request),
    Lie(Request),
    Garbage,
}

/// A batch of one partition, and whether the projector starts anew before it.
#[derive(Clone, Copy, Debug)]
struct Cut {
    partition: u32,
    records: usize,
    restart: bool,
}

fn requests() -> impl Strategy<Value = Request> {
    let tokens = (0..50_u64, 0..=50_u64, 0..50_u64, 0..=50_u64);
    // Hours around the epoch and around a day's end, a microsecond before, at and after.
    let at = (prop_oneof![-2..3_i64, 22..27_i64], -1..=1_i64).prop_map(|(hour, shift)| hour * HOUR + shift);
    let who = (0..40_u128, 1..5_u128, 1..4_u128, prop_oneof!["flash", "pro", "é"]);
    (who, at, tokens, [0..10_000_000_u64, 0..10_000_000, 0..10_000_000]).prop_map(
        |((id, account, key, model), at, (prompt, cached, completion, reasoning), prices)| Request {
            id,
            account,
            key,
            model,
            at,
            tokens: TokenCounts {
                prompt,
                cached_prompt: cached.min(prompt),
                completion,
                reasoning: reasoning.min(completion),
            },
            prices,
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => requests().prop_map(Step::Usage),
        3 => (1_000..1_020_u128, requests(), requests()).prop_map(|(id, of, to)| Step::Correction(id, of, to)),
        1 => requests().prop_map(Step::Lie),
        1 => Just(Step::Garbage),
    ]
}

fn cuts() -> impl Strategy<Value = Cut> {
    (0..PARTITIONS, 1..20_usize, prop::bool::weighted(0.2)).prop_map(|(partition, records, restart)| Cut {
        partition,
        records,
        restart,
    })
}

async fn check(engine: Engine, steps: Vec<Step>, cuts: Vec<Cut>, ranges: Vec<(Option<i64>, Option<i64>)>) {
    let mut logs = BTreeMap::<_, Vec<(Bytes, Option<Counted>)>>::new();
    for (step, number) in steps.into_iter().zip(0_u32..) {
        let home = |request: &Request| eventlog::partition::of(request.event().subject, PARTITIONS);
        let (partition, entry) = match step {
            Step::Usage(request) => (home(&request), (record(&request.event()), Some(Counted::Request(request)))),
            Step::Correction(id, of, to) => {
                let to = Request { prices: of.prices, at: to.at, tokens: to.tokens, ..of.clone() };
                let correction = record(&of.correction(id, to.at, &to));
                (home(&of), (correction, Some(Counted::Correction { id, of, to })))
            }
            Step::Lie(request) => (home(&request), (record(&request.lie()), None)),
            Step::Garbage => (PartitionId(number % PARTITIONS), (Bytes::from_static(b"{}"), None)),
        };
        logs.entry(partition).or_default().push(entry);
    }
    let mut model = Model::default();
    for (partition, log) in &logs {
        log.iter().filter_map(|(_, counted)| counted.as_ref()).for_each(|counted| model.take(*partition, counted));
    }

    let mut store = engine.open().await;
    // The drawn cuts, then whatever is left.
    let rest = (0..PARTITIONS).map(|partition| Cut { partition, records: usize::MAX, restart: false });
    for Cut { partition, records, restart } in cuts.into_iter().chain(rest) {
        if restart {
            store = engine.open().await;
        }
        let partition = PartitionId(partition);
        let sink = sink_of(&store, PARTITIONS);
        let log: Vec<_> = logs.get(&partition).into_iter().flatten().map(|(payload, _)| payload.clone()).collect();
        let from = sink.position(partition).await.unwrap();
        let cut = batch(partition, &log, from, records);
        let next = cut.next;
        sink.apply(cut).await.unwrap();
        assert_eq!(sink.position(partition).await.unwrap(), next);
    }
    assert_eq!(store.totals(Grain::Event).await.unwrap(), model.totals());
    assert_eq!(store.totals(Grain::Hour).await.unwrap(), model.totals());
    for (bounds, number) in ranges.into_iter().zip(0_u128..) {
        for (group_by, bucket) in [
            (GroupBy::None, Bucket::None),
            (GroupBy::Model, Bucket::Hour),
            (GroupBy::Key, Bucket::Day),
            (GroupBy::None, Bucket::Day),
        ] {
            let query = UsageQuery {
                account_id: AccountId(Uuid::from_u128(1 + number % 5)),
                from: bounds.0.map(Timestamp::from_micros),
                to: bounds.1.map(Timestamp::from_micros),
                group_by,
                bucket,
            };
            assert_eq!(store.stats(&query).await.unwrap(), model.stats(&query), "{query:?}");
        }
    }
}

fn agrees_with_the_model<F: Future<Output = Engine>>(cases: u32, engine: impl Fn() -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bound = || prop::option::of(-3 * HOUR..28 * HOUR);
    let inputs = (vec(steps(), 0..120), vec(cuts(), 0..12), vec((bound(), bound()), 5));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&inputs, |(steps, cuts, ranges)| {
        runtime.block_on(async { check(engine().await, steps, cuts, ranges).await });
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn sqlite_agrees_with_the_model() {
    agrees_with_the_model(64, async || Engine::sqlite());
}

#[test]
fn clickhouse_agrees_with_the_model() {
    agrees_with_the_model(8, Engine::clickhouse);
}
