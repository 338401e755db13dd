//! What statistics say.

use std::sync::Arc;

use eventlog::Sink;
use projector::{ClickHouseStore, Fact, FactBatch, Grain, StoreError, UsageStore};
use schemas::api::{Bucket, GroupBy, UsageQuery, UsageRow, UsageTotals};
use schemas::{AccountId, Offset, Timestamp, TokenCounts, Usd};
use uuid::Uuid;

use super::engine::{Engine, on_both};
use super::requests::{PARTITION, Request, batch, record, sink_of};

on_both! {
    sums_are_exact_to_the_last_digit,
    buckets_are_utc_hours_and_days,
    a_range_goes_from_hour_to_hour,
    corrections_change_the_hour_of_their_own_time,
    groups_are_told_apart_and_ordered,
    accounts_never_see_each_other,
}

/// A store that holds `requests`.
async fn holding(engine: &Engine, requests: &[Request]) -> Arc<dyn UsageStore> {
    let store = engine.open().await;
    let log: Vec<_> = requests.iter().map(|request| record(&request.event())).collect();
    let sink = sink_of(&store, 1);
    sink.apply(batch(PARTITION, &log, Offset(0), log.len())).await.unwrap();
    assert_eq!(store.totals(Grain::Event).await.unwrap(), store.totals(Grain::Hour).await.unwrap());
    store
}

fn query(group_by: GroupBy, bucket: Bucket) -> UsageQuery {
    UsageQuery { account_id: AccountId(Uuid::from_u128(1)), from: None, to: None, group_by, bucket }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Rows in short: bucket, group, requests and cost.
async fn rows(store: &dyn UsageStore, query: &UsageQuery) -> Vec<(Option<String>, Option<String>, u64, String)> {
    let short = |row: UsageRow| {
        (row.bucket.map(|at| at.to_string()), row.group, row.totals.requests, row.totals.cost_usd.to_string())
    };
    store.stats(query).await.unwrap().into_iter().map(short).collect()
}

async fn sums_are_exact_to_the_last_digit(engine: Engine) {
    let at = "2026-11-01T10:30:00Z";
    let mut mixed = Request::new(5, at).with(12, "pro");
    mixed.tokens = TokenCounts { prompt: 1_000_000_000, cached_prompt: 999_999_999, completion: 7, reasoning: 6 };
    mixed.prices = [600_000, 1, 1_800_000];
    // 9,000,000 USD is the most that an event may cost, and three of them are more than 64 bits of 10⁻¹² USD.
    let requests = [
        Request::new(1, at).charging(1_000_000, 9_000_000_000_000),
        Request::new(2, at).charging(1_000_000_000, 9_000_000_000),
        Request::new(3, at).charging(1_000_000, 9_000_000_000_000),
        Request::new(4, at).charging(1, 1),
        mixed,
        Request::new(6, at).charging(0, 9_000_000_000_000),
        Request::new(7, "2026-11-01T11:00:00Z").charging(999_999, 1),
    ];
    let store = holding(&engine, &requests).await;
    let all = store.stats(&query(GroupBy::None, Bucket::None)).await.unwrap();
    let expected = UsageTotals {
        requests: 7,
        prompt_tokens: 2_003_000_000,
        cached_prompt_tokens: 999_999_999,
        completion_tokens: 7,
        reasoning_tokens: 6,
        // Beyond what one event may state, so it can't be parsed.
        cost_usd: Usd::from_decimal("27000000.001014199999".parse().unwrap()).unwrap(),
    };
    assert_eq!(all, [UsageRow { bucket: None, group: None, totals: expected }]);
    let cost = |row: &UsageRow| row.totals.cost_usd.to_string();
    let hours = store.stats(&query(GroupBy::None, Bucket::Hour)).await.unwrap();
    assert_eq!(hours.iter().map(cost).collect::<Vec<_>>(), ["27000000.0010132", "0.000000999999"]);
    let models = store.stats(&query(GroupBy::Model, Bucket::None)).await.unwrap();
    assert_eq!(models.iter().map(cost).collect::<Vec<_>>(), ["27000000.000001", "0.001013199999"]);
}

async fn buckets_are_utc_hours_and_days(engine: Engine) {
    let times = [
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "2026-10-31T23:59:59.999999Z",
        "2026-11-01T00:00:00Z",
        "2026-11-01T00:59:59.999999Z",
        "2026-11-01T23:59:59.999999Z",
        "9999-12-31T23:59:59.999999Z",
    ];
    // Newest first, so that the order is not the log's.
    let requests: Vec<_> = times.iter().rev().zip(1..).map(|(at, id)| Request::new(id, at)).collect();
    let store = holding(&engine, &requests).await;
    let check = async |bucket, expected: &[(&str, u64)]| {
        let found = rows(store.as_ref(), &query(GroupBy::None, bucket)).await;
        let found: Vec<_> = found.iter().map(|(at, _, requests, _)| (at.as_deref().unwrap(), *requests)).collect();
        assert_eq!(found, expected);
    };
    check(
        Bucket::Hour,
        &[
            ("0000-01-01T00:00:00.000000Z", 1),
            ("1969-12-31T23:00:00.000000Z", 1),
            ("1970-01-01T00:00:00.000000Z", 1),
            ("2026-10-31T23:00:00.000000Z", 1),
            ("2026-11-01T00:00:00.000000Z", 2),
            ("2026-11-01T23:00:00.000000Z", 1),
            ("9999-12-31T23:00:00.000000Z", 1),
        ],
    )
    .await;
    check(
        Bucket::Day,
        &[
            ("0000-01-01T00:00:00.000000Z", 1),
            ("1969-12-31T00:00:00.000000Z", 1),
            ("1970-01-01T00:00:00.000000Z", 1),
            ("2026-10-31T00:00:00.000000Z", 1),
            ("2026-11-01T00:00:00.000000Z", 3),
            ("9999-12-31T00:00:00.000000Z", 1),
        ],
    )
    .await;
}

async fn a_range_goes_from_hour_to_hour(engine: Engine) {
    let hours = ["2026-11-01T08:10:00Z", "2026-11-01T09:20:00Z", "2026-11-01T10:30:00Z"];
    let requests: Vec<_> = hours.iter().zip(1..).map(|(at, id)| Request::new(id, at)).collect();
    let store = holding(&engine, &requests).await;
    let check = async |from: Option<&str>, to: Option<&str>, expected: u64| {
        let query = UsageQuery { from: from.map(time), to: to.map(time), ..query(GroupBy::None, Bucket::None) };
        let found = rows(store.as_ref(), &query).await;
        assert_eq!(found.iter().map(|row| row.2).collect::<Vec<_>>(), [expected], "{from:?} {to:?}");
    };
    check(None, None, 3).await;
    check(Some("2026-11-01T08:59:59.999999Z"), None, 3).await;
    check(Some("2026-11-01T09:00:00Z"), None, 2).await;
    check(Some("2026-11-01T09:59:59.999999Z"), None, 2).await;
    check(None, Some("2026-11-01T10:59:59.999999Z"), 2).await;
    check(None, Some("2026-11-01T11:00:00Z"), 3).await;
    check(Some("2026-11-01T09:00:00Z"), Some("2026-11-01T10:00:00Z"), 1).await;
    check(Some("2026-11-01T09:00:00Z"), Some("2026-11-01T09:59:00Z"), 0).await;
    check(Some("2026-11-01T10:00:00Z"), Some("2026-11-01T08:00:00Z"), 0).await;
    check(Some("0000-01-01T00:00:00Z"), Some("9999-12-31T23:59:59.999999Z"), 3).await;
}

async fn groups_are_told_apart_and_ordered(engine: Engine) {
    let (early, late) = ("2026-11-01T08:10:00Z", "2026-11-01T09:20:00Z");
    let hostile = r"'); DROP TABLE usage_facts; -- ? ?fields \' {a:b}";
    let requests = [
        Request::new(1, late).with(3, "é"),
        Request::new(2, late).with(0x8000_0000_0000_0000_0000_0000_0000_0001, "flash"),
        Request::new(3, early).with(3, "flash"),
        Request::new(4, early).with(3, "Pro"),
        Request::new(5, early).with(3, hostile),
        Request::new(6, early).with(3, ""),
    ];
    let store = holding(&engine, &requests).await;
    let check = async |group_by, bucket, expected: &[(Option<&str>, &str, u64, &str)]| {
        let found = rows(store.as_ref(), &query(group_by, bucket)).await;
        let found: Vec<_> = found
            .iter()
            .map(|(at, group, requests, cost)| (at.as_deref(), group.as_deref().unwrap(), *requests, cost.as_str()))
            .collect();
        assert_eq!(found, expected);
    };
    check(
        GroupBy::Model,
        Bucket::None,
        &[
            (None, "", 1, "0.000005"),
            (None, hostile, 1, "0.000005"),
            (None, "Pro", 1, "0.000005"),
            (None, "flash", 2, "0.00001"),
            (None, "é", 1, "0.000005"),
        ],
    )
    .await;
    let (small, large) = ("00000000-0000-0000-0000-000000000003", "80000000-0000-0000-0000-000000000001");
    check(GroupBy::Key, Bucket::None, &[(None, small, 5, "0.000025"), (None, large, 1, "0.000005")]).await;
    let (eight, nine) = ("2026-11-01T08:00:00.000000Z", "2026-11-01T09:00:00.000000Z");
    check(
        GroupBy::Key,
        Bucket::Hour,
        &[(Some(eight), small, 4, "0.00002"), (Some(nine), small, 1, "0.000005"), (Some(nine), large, 1, "0.000005")],
    )
    .await;
}

/// The sums over all time are what was charged in the end; an hour in which more was given back than used is below zero.
async fn corrections_change_the_hour_of_their_own_time(engine: Engine) {
    let (early, late) = ("2026-11-01T08:10:00Z", "2026-11-01T09:20:00Z");
    let mut wrong = Request::new(1, early).with(11, "pro");
    wrong.tokens = TokenCounts { prompt: 10, cached_prompt: 2, completion: 10, reasoning: 3 };
    let mut right = wrong.clone();
    right.tokens = TokenCounts { prompt: 4, cached_prompt: 4, completion: 11, reasoning: 0 };
    let at = time(late).as_micros();
    let log =
        [wrong.event(), Request::new(2, late).event(), wrong.correction(3, at, &right)].map(|event| record(&event));
    let store = engine.open().await;
    let sink = sink_of(&store, 1);
    for from in 0..3 {
        sink.apply(batch(PARTITION, &log, Offset(from), 1)).await.unwrap();
    }
    let sums = |requests, [prompt, cached, completion, reasoning]: [i64; 4], cost: &str| UsageTotals {
        requests,
        prompt_tokens: prompt,
        cached_prompt_tokens: cached,
        completion_tokens: completion,
        reasoning_tokens: reasoning,
        cost_usd: cost.parse().unwrap(),
    };
    let all = sums(2, [14, 4, 21, 0], "0.00000838");
    for grain in [Grain::Event, Grain::Hour] {
        assert_eq!(store.totals(grain).await.unwrap().into_values().collect::<Vec<_>>(), [all], "{grain:?}");
    }
    let found = store.stats(&query(GroupBy::Model, Bucket::Hour)).await.unwrap();
    let found: Vec<_> =
        found.into_iter().map(|row| (row.bucket.unwrap().to_string(), row.group.unwrap(), row.totals)).collect();
    let expected = [
        ("2026-11-01T08:00:00.000000Z", "pro", sums(1, [10, 2, 10, 3], "0.00000464")),
        ("2026-11-01T09:00:00.000000Z", "flash", sums(1, [10, 0, 10, 0], "0.000005")),
        ("2026-11-01T09:00:00.000000Z", "pro", sums(0, [-6, 2, 1, -3], "-0.00000126")),
    ];
    assert_eq!(found, expected.map(|(at, model, totals)| (at.to_owned(), model.to_owned(), totals)));
    assert_eq!(store.stats(&query(GroupBy::None, Bucket::None)).await.unwrap()[0].totals, all);
}

async fn accounts_never_see_each_other(engine: Engine) {
    let at = "2026-11-01T08:10:00Z";
    // Accounts that differ in one end of their id only.
    let (low, high) = (2, 1 << 127 | 1);
    let store =
        holding(&engine, &[Request::new(1, at), Request::new(2, at).of(low), Request::new(3, at).of(high)]).await;
    for account in [1, low, high] {
        let query = UsageQuery { account_id: AccountId(Uuid::from_u128(account)), ..query(GroupBy::Key, Bucket::Day) };
        assert_eq!(rows(store.as_ref(), &query).await.iter().map(|row| row.2).collect::<Vec<_>>(), [1], "{account}");
    }
    let stranger = AccountId(Uuid::from_u128(3));
    for (group_by, bucket) in [(GroupBy::Model, Bucket::None), (GroupBy::None, Bucket::Hour)] {
        let query = UsageQuery { account_id: stranger, ..query(group_by, bucket) };
        assert_eq!(store.stats(&query).await, Ok(vec![]));
    }
    let query = UsageQuery { account_id: stranger, ..query(GroupBy::None, Bucket::None) };
    assert_eq!(
        store.stats(&query).await,
        Ok(vec![UsageRow { bucket: None, group: None, totals: UsageTotals::default() }])
    );
}

/// The server is told to fail what it can't answer from a projection.
#[tokio::test]
async fn clickhouse_answers_from_rollups() {
    let engine = Engine::clickhouse().await;
    let at = "2026-11-01T08:10:00Z";
    let requests = [Request::new(1, at), Request::new(2, "1969-12-31T23:20:00Z"), Request::new(3, at).of(2)];
    let any = holding(&engine, &requests[..2]).await;
    let log: Vec<_> = requests.iter().map(|request| record(&request.event())).collect();
    sink_of(&any, 1).apply(batch(PARTITION, &log, Offset(2), 1)).await.unwrap();
    let Engine::ClickHouse(database) = &engine else { unreachable!() };
    let client = database.client().with_setting("force_optimize_projection", "1");
    let forced = ClickHouseStore::with_client(client, database.name()).await.unwrap();
    for group_by in [GroupBy::None, GroupBy::Model, GroupBy::Key] {
        for bucket in [Bucket::None, Bucket::Hour, Bucket::Day] {
            for from in [None, Some(time("1969-12-31T00:00:00Z"))] {
                let query = UsageQuery { from, ..query(group_by, bucket) };
                assert_eq!(forced.stats(&query).await.unwrap(), any.stats(&query).await.unwrap(), "{query:?}");
            }
        }
    }
    assert_eq!(forced.totals(Grain::Hour).await, any.totals(Grain::Event).await);
    // Nor do merges change an answer.
    let totals = forced.totals(Grain::Hour).await.unwrap();
    let merge = database.client().query("OPTIMIZE TABLE usage_charges FINAL");
    merge.execute().await.unwrap();
    assert_eq!(forced.totals(Grain::Hour).await.unwrap(), totals);
    assert_eq!(any.totals(Grain::Event).await.unwrap(), totals);
    assert_eq!(forced.position(PARTITION).await, Ok(Offset(3)));
    // What needs the facts themselves does fail, so the setting is in force.
    let more = FactBatch {
        partition: PARTITION,
        from: Offset(3),
        facts: vec![Fact::of(Offset(3), &Request::new(4, at).event(), Usd::ZERO).unwrap()],
        next: Offset(4),
    };
    let refused = forced.insert(more).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("PROJECTION")), "{refused:?}");
}
