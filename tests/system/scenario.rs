//! The main job, in both modes: a stranger's requests are billed exactly, and every number agrees.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::client::{Charge, Client};
use crate::system::{Stop, System, decimal};

const MODELS: [&str; 3] = ["deepseek-v4-flash", "deepseek-v4-pro", "qwen-turbo"];
const REQUESTS: usize = 1_000;
/// Requests at once.
const CONCURRENCY: usize = 16;

/// The n-th request of a deterministic mix of models, lengths, limits, whole and streamed answers.
fn request(n: usize) -> Value {
    let words = "word ".repeat(n * 7 % 90 + 1);
    let mut request = json!({
        "model": MODELS[n % 3],
        "messages": [{"role": "user", "content": if n.is_multiple_of(5) { "hello".to_owned() } else { words }}],
    });
    if n.is_multiple_of(4) {
        request["max_tokens"] = json!(n % 40 + 1);
    }
    if n.is_multiple_of(2) {
        request["stream"] = json!(true);
        request["stream_options"] = json!({"include_usage": true});
    }
    request
}

/// Sends requests `range` and gives each one's charge, in order.
async fn send(client: &Client, range: std::ops::Range<usize>) -> Vec<(&'static str, Charge)> {
    stream::iter(range)
        .map(|n| async move {
            let charge = client.complete(&request(n)).await;
            assert_eq!(charge.cost, expected_cost(n), "request {n}: {charge:?}");
            (MODELS[n % 3], charge)
        })
        .buffered(CONCURRENCY)
        .collect()
        .await
}

fn total(charges: &[(&str, Charge)]) -> Decimal {
    charges.iter().map(|(_, charge)| charge.cost).sum()
}

/// Balance, statement and usage statistics agree with what the client was told, to the last digit.
async fn everything_agrees(system: &System, account: &str, client: &Client, charges: &[(&str, Charge)]) {
    let expected = Decimal::from(5) - total(charges);
    system.balance_becomes(account, expected).await;
    assert_eq!(decimal(&client.get("/api/balance").await["balance_usd"]), expected);

    let statement = system.admin(&["statement", "--account", account]).await;
    let entries = statement["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), charges.len() + 1, "each request and the trial credit, once each");
    let mut balance = Decimal::ZERO;
    let mut billed: BTreeMap<(String, u64, u64, Decimal), i64> = BTreeMap::new();
    for entry in entries {
        balance += decimal(&entry["amount_usd"]);
        assert_eq!(decimal(&entry["balance_usd"]), balance, "{entry}");
        let detail = &entry["detail"];
        if detail["type"] == "usage.recorded" {
            let tokens = |name: &str| detail["tokens"][name].as_u64().expect("a count");
            let model = detail["model"].as_str().expect("a model").to_owned();
            let cost = -decimal(&entry["amount_usd"]);
            *billed.entry((model, tokens("prompt"), tokens("completion"), cost)).or_default() += 1;
        }
    }
    assert_eq!(balance, expected);
    for (model, charge) in charges {
        *billed.entry(((*model).to_owned(), charge.prompt, charge.completion, charge.cost)).or_default() -= 1;
    }
    assert!(billed.values().all(|difference| *difference == 0), "statement and answers differ: {billed:?}");

    usage_agrees(client, charges).await;
}

/// The projector may be a moment behind, so its requests are awaited; then every sum must be exact.
async fn usage_agrees(client: &Client, charges: &[(&str, Charge)]) {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let rows = loop {
        let usage = client.get("/api/usage?group_by=model&bucket=hour").await;
        let rows = usage["data"].as_array().expect("rows").clone();
        let requests: u64 = rows.iter().map(|row| row["requests"].as_u64().expect("a count")).sum();
        assert!(requests <= charges.len() as u64, "{requests} requests are counted, {} were made", charges.len());
        if requests == charges.len() as u64 {
            break rows;
        }
        assert!(tokio::time::Instant::now() < deadline, "only {requests} of {} are counted", charges.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut counted: BTreeMap<&str, (u64, u64, u64, Decimal)> = BTreeMap::new();
    for row in &rows {
        let count = |name: &str| row[name].as_u64().expect("a count");
        let sum = counted.entry(row["group"].as_str().expect("a model")).or_default();
        sum.0 += count("requests");
        sum.1 += count("prompt_tokens");
        sum.2 += count("completion_tokens");
        sum.3 += decimal(&row["cost_usd"]);
        assert!(row["bucket"].as_str().expect("a time").ends_with(":00:00.000000Z"), "{row}");
    }
    let mut told: BTreeMap<&str, (u64, u64, u64, Decimal)> = BTreeMap::new();
    for (model, charge) in charges {
        let sum = told.entry(model).or_default();
        sum.0 += 1;
        sum.1 += charge.prompt;
        sum.2 += charge.completion;
        sum.3 += charge.cost;
    }
    assert_eq!(counted, told);
}

/// The scenario; gives the balance it ends with.
async fn scenario(system: &System) -> Decimal {
    let (account, client) = system.open_account("owner@example.com").await;
    let (other, _) = system.open_account("other@example.com").await;
    let mut charges = send(&client, 0..REQUESTS).await;
    everything_agrees(system, &account, &client, &charges).await;

    system.restart(Stop::Terminate).await;
    let client = Client::new(&system.address, &client.key);
    everything_agrees(system, &account, &client, &charges).await;

    charges.extend(send(&client, REQUESTS..REQUESTS + 20).await);
    system.restart(Stop::Kill9).await;
    let client = Client::new(&system.address, &client.key);
    everything_agrees(system, &account, &client, &charges).await;

    charges.extend(send(&client, REQUESTS + 20..REQUESTS + 30).await);
    everything_agrees(system, &account, &client, &charges).await;
    assert_eq!(system.balance(&other).await, Decimal::from(5));
    assert!(!system.output().contains(&client.key), "a key was logged");
    system.balance(&account).await
}

/// What the scenario's requests cost in every mode, at the demo model's counts and the built-in prices.
async fn ends_with_the_same_balance_in_every_mode(system: System) {
    let expected = (0..REQUESTS + 30).map(expected_cost).sum::<Decimal>();
    assert_eq!(scenario(&system).await, Decimal::from(5) - expected);
}

/// A second, independent count of a request's cost: in whole 10⁻¹² USD, from the demo model's documented behaviour.
fn expected_cost(n: usize) -> Decimal {
    let (input, output) = [(200_000, 300_000), (600_000, 1_800_000), (35_000, 140_000)][n % 3];
    let n = i64::try_from(n).expect("a small number");
    let words = n * 7 % 90 + 1;
    // The trailing space is a token of its own; the echo repeats at most 50 tokens.
    let (prompt, completion) = if n % 5 == 0 { (2, 10) } else { (words + 2, 42 + (words + 1).min(50)) };
    let completion = if n % 4 == 0 { completion.min(n % 40 + 1) } else { completion };
    Decimal::new(prompt * input + completion * output, 12)
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_bills_exactly() {
    ends_with_the_same_balance_in_every_mode(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_bills_exactly() {
    ends_with_the_same_balance_in_every_mode(System::distributed().await).await;
}
