//! The plan's limits of requests: what is refused, what it costs, and what the headers promise.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::json;

use crate::client::{Answer, Client};
use crate::system::System;
use crate::upstream::{Piece, Script, Upstream};

async fn post(client: &Client, body: &serde_json::Value) -> Answer {
    client.send(Method::POST, "/v1/chat/completions", body.to_string()).await
}

fn limits(answer: &Answer) -> (&str, &str) {
    (answer.header("x-ratelimit-limit-requests"), answer.header("x-ratelimit-remaining-requests"))
}

/// A duration of whole seconds, as `42s`.
fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').expect("seconds").parse().expect("a number")
}

#[track_caller]
fn assert_rate_limited(answer: &Answer, message: &str) {
    let error = &answer.json()["error"];
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{error}");
    assert_eq!((&error["type"], &error["code"]), (&json!("rate_limit_error"), &json!("rate_limited")), "{error}");
    assert!(error["message"].as_str().expect("text").contains(message), "{error}");
}

#[tokio::test]
async fn a_free_account_makes_ten_requests_a_minute() {
    // As it comes: plans are there, so the test's own do not replace them.
    let system = System::embedded_with("[[plans]]\nid = \"free\"\nmax_in_flight = 3\n").await;
    let (account, client) = system.open_account("owner@example.com").await;
    let (_, neighbour) = system.open_account("neighbour@example.com").await;
    let request = json!({ "model": "deepseek-v4-flash", "messages": [{ "role": "user", "content": "Hello!" }] });
    let began = Instant::now();
    let mut spent = rust_decimal::Decimal::ZERO;
    for remaining in (0..10).rev() {
        let answer = post(&client, &request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(limits(&answer), ("10", remaining.to_string().as_str()));
        assert_eq!(seconds(answer.header("x-ratelimit-reset-requests")), 60);
        spent += answer.charge().cost;
    }
    let refused = post(&client, &request).await;
    let answered = Instant::now();
    assert_rate_limited(&refused, "10 requests a minute");
    assert_eq!(limits(&refused), ("10", "0"));
    let retry_after: u64 = refused.header("retry-after").parse().expect("a number");
    let left = Duration::from_mins(1).saturating_sub(answered.duration_since(began));
    assert!((left.as_secs()..=60).contains(&retry_after), "{retry_after} for {left:?}");

    // Whatever else is asked counts nothing and is answered; so is another account.
    let models = client.send(Method::GET, "/v1/models", "").await;
    assert_eq!((models.status, limits(&models)), (StatusCode::OK, ("10", "0")));
    assert_eq!(limits(&post(&neighbour, &request).await), ("10", "9"));
    // Without a key there is no account whose limit could be told.
    let stranger = Client::new(&system.address, "mh-sk-nobody").send(Method::GET, "/v1/models", "").await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert!(!stranger.headers.contains_key("x-ratelimit-limit-requests"));
    // What was refused was not charged, and stands nowhere.
    system.balance_becomes(&account, rust_decimal::Decimal::from(5) - spent).await;
    let statement = system.admin(&["statement", "--account", &account]).await;
    assert_eq!(statement["entries"].as_array().expect("entries").len(), 1 + 10);
}

#[tokio::test]
async fn what_runs_at_once_is_bounded_and_ends_with_its_answer() {
    let (upstream, base_url) = Upstream::start().await;
    let system = System::embedded_with(&format!(
        r#"
        [[upstreams]]
        name = "scripted"
        base_url = "{base_url}"

        [[models]]
        id = "m"
        upstream = "scripted"
        context_tokens = 1000
        max_output_tokens = 100
        price = {{ input = "1", cached_input = "0.1", output = "2" }}

        [[plans]]
        id = "free"
        max_in_flight = 2
        requests_per_minute = 1000
        "#
    ))
    .await;
    let (_, client) = system.open_account("owner@example.com").await;
    let request = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hello!" }] });
    let whole = r#"{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let slow = || Script {
        pieces: vec![Piece::Wait(Duration::from_secs(3)), Piece::Bytes(whole.into())],
        ..Script::json(200, "")
    };
    upstream.next(slow());
    upstream.next(slow());
    let running =
        [tokio::spawn(send(client.clone(), request.clone())), tokio::spawn(send(client.clone(), request.clone()))];
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = post(&client, &request).await;
    assert_rate_limited(&refused, "2 requests at once");
    assert_eq!((refused.header("retry-after"), limits(&refused)), ("1", ("1000", "998")));
    for answer in running {
        assert_eq!(answer.await.expect("an end").status, StatusCode::OK);
    }
    // An answer's end frees its place: one after the other, none is refused.
    for n in 0..50 {
        upstream.next(Script::json(200, whole));
        upstream.next(Script::json(200, whole));
        let both = tokio::join!(post(&client, &request), post(&client, &request));
        assert_eq!((both.0.status, both.1.status), (StatusCode::OK, StatusCode::OK), "pair {n}: {both:?}");
    }
}

async fn send(client: Client, request: serde_json::Value) -> Answer {
    post(&client, &request).await
}
