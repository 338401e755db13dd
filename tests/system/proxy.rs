//! What passes between a client and an upstream, and what each way of ending costs.

use std::time::Duration;

use http::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::client::Client;
use crate::system::{Stop, System, decimal};
use crate::upstream::{Piece, Script, Upstream};

/// A system whose model `m` is `um` on a scripted upstream: 1 USD per million prompt tokens, 2 per million others.
async fn system() -> (System, Upstream, String, Client) {
    let (upstream, base_url) = Upstream::start().await;
    let system = System::embedded_with(&format!(
        r#"
        [[upstreams]]
        name = "scripted"
        base_url = "{base_url}"
        first_token_timeout_ms = 500
        idle_timeout_ms = 500

        [[models]]
        id = "m"
        upstream = "scripted"
        upstream_model = "um"
        context_tokens = 1000000
        max_output_tokens = 1000
        price = {{ input = "1", cached_input = "0.1", output = "2" }}
        "#
    ))
    .await;
    let (account, client) = system.open_account("owner@example.com").await;
    (system, upstream, account, client)
}

async fn post(client: &Client, body: &str) -> crate::client::Answer {
    client.send(Method::POST, "/v1/chat/completions", body.to_owned()).await
}

/// The newest usage entry of the statement once there are `count` of them: outcome, accuracy, prompt and completion
/// tokens, cost.
async fn billed(system: &System, account: &str, count: usize) -> (String, String, u64, u64, Decimal) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let statement = system.admin(&["statement", "--account", account]).await;
        let entries: Vec<&Value> = statement["entries"].as_array().expect("entries").iter().collect();
        let usage: Vec<_> = entries.iter().filter(|entry| entry["detail"]["type"] == "usage.recorded").collect();
        assert!(usage.len() <= count, "{} charges, not {count}", usage.len());
        if usage.len() == count {
            let (last, detail) = (usage[count - 1], &usage[count - 1]["detail"]);
            let text = |name: &str| detail[name].as_str().expect("text").to_owned();
            let tokens = |name: &str| detail["tokens"][name].as_u64().expect("a count");
            let cost = -decimal(&last["amount_usd"]);
            return (text("outcome"), text("accuracy"), tokens("prompt"), tokens("completion"), cost);
        }
        assert!(tokio::time::Instant::now() < deadline, "only {} charges of {count}", usage.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn data(json: &str) -> Piece {
    Piece::Bytes(format!("data: {json}\n\n").into())
}

const HELLO: &str = r#"{"id":"x","model":"um","choices":[{"index":0,"delta":{"content":"hello wo"}}]}"#;
const STOP: &str = r#"{"id":"x","model":"um","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"x","model":"um","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_pass_both_ways_byte_for_byte() {
    let (system, upstream, account, client) = system().await;
    let odd = r#" {"temperature":1.0e0, "messages" : [{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"text","text":"\u00fc ü"}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"b":1,"a":2}}}],"response_format":{"type":"json_schema","json_schema":{"strict":true}},"model":"m","x-unknown":[1,2 ,3]} "#;
    upstream.next(Script::json(
        200,
        r#"{"model":"um","choices":[{"message":{"tool_calls":[{"id":"c","function":{"arguments":"{\"b\" :1}"}}]},"finish_reason":"tool_calls"}],"z":1.50,"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}} "#,
    ));
    let answer = post(&client, odd).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.body,
        r#"{"model":"m","choices":[{"message":{"tool_calls":[{"id":"c","function":{"arguments":"{\"b\" :1}"}}]},"finish_reason":"tool_calls"}],"z":1.50,"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4},"cost_usd":0.0000094}} "#
    );
    let (headers, sent) = upstream.last_request();
    assert_eq!(sent, odd.replace(r#""model":"m""#, r#""model":"um""#));
    assert!(!headers.contains_key("authorization"), "the client's key must not reach an upstream");
    let cost = Decimal::new(94, 7);
    assert_eq!(billed(&system, &account, 1).await, ("completed".into(), "measured".into(), 7, 3, cost));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_was_admitted() {
    let (system, upstream, account, client) = system().await;
    let slow = vec![data(HELLO), Piece::Wait(Duration::from_millis(400)), data(STOP), data(USAGE), data("[DONE]")];
    upstream.next(Script::stream(slow));
    let request = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#;
    let running = tokio::spawn({
        let client = client.clone();
        async move { post(&client, request).await }
    });
    while upstream.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    system.restart(Stop::Terminate).await;
    let answer = running.await.expect("an answer");
    assert!(answer.body.ends_with("data: [DONE]\n\n"), "{}", answer.body);
    assert_eq!(billed(&system, &account, 1).await.0, "completed");
}

/// One gateway: whatever runs at once, the balance is never overspent, and it is used up to the last token.
#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_does_not_overspend() {
    // $5 pays for exactly 5,000 output tokens; an answer of the demo model takes 44 of them.
    let system = System::embedded_with(
        r#"
        [[models]]
        id = "dear"
        upstream = "demo"
        context_tokens = 1000
        max_output_tokens = 1000
        price = { input = "0", cached_input = "0", output = "1000" }
        "#,
    )
    .await;
    let (account, client) = system.open_account("owner@example.com").await;
    let request =
        json!({"model": "dear", "messages": [{"role": "user", "content": "a b"}], "max_tokens": 50}).to_string();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (client, request) = (client.clone(), request.clone());
        tasks.spawn(async move {
            let mut tokens = 0;
            for _ in 0..5 {
                let answer = post(&client, &request).await;
                match answer.status {
                    StatusCode::OK => tokens += answer.charge().completion,
                    status => assert_eq!(status, StatusCode::PAYMENT_REQUIRED, "{}", answer.body),
                }
            }
            tokens
        });
    }
    let mut tokens: u64 = tasks.join_all().await.into_iter().sum();
    assert!(tokens <= 5_000, "overspent: {tokens} tokens");
    loop {
        let answer = post(&client, &request).await;
        if answer.status == StatusCode::PAYMENT_REQUIRED {
            assert_eq!(answer.json()["error"]["code"], "insufficient_balance");
            break;
        }
        tokens += answer.charge().completion;
    }
    assert_eq!(tokens, 5_000);
    system.balance_becomes(&account, Decimal::ZERO).await;
}

/// Bytes bound a prompt's tokens from above, and cost nothing to count; near the end of a balance that is not good enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_the_balance_pays_for_is_answered() {
    let (upstream, base_url) = Upstream::start().await;
    // $5 pays for 10,000 prompt tokens.
    let system = System::embedded_with(&format!(
        r#"
        [[upstreams]]
        name = "scripted"
        base_url = "{base_url}"

        [[models]]
        id = "m"
        upstream = "scripted"
        context_tokens = 1000000
        max_output_tokens = 1000
        price = {{ input = "500", cached_input = "50", output = "1000" }}
        "#
    ))
    .await;
    let (account, client) = system.open_account("owner@example.com").await;
    let request = |words: usize| {
        let text = "hello ".repeat(words);
        json!({"model": "m", "messages": [{"role": "user", "content": text.trim_end()}], "n": 2}).to_string()
    };
    // 36 KB; 6,005 tokens, and a third and eight more held: what is left pays for 496 tokens of each of two choices.
    upstream.next(Script::json(
        200,
        r#"{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":6005,"completion_tokens":984}}"#,
    ));
    let answer = post(&client, &request(6_000)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let sent: Value = serde_json::from_str(&upstream.last_request().1).expect("JSON");
    assert_eq!(sent["max_tokens"], 496);
    let cost = Decimal::new(6_005 * 500 + 984 * 1_000, 6);
    assert_eq!(billed(&system, &account, 1).await, ("completed".into(), "measured".into(), 6_005, 984, cost));
    // Now it does not pay for as much, by either count.
    let refused = post(&client, &request(6_000)).await;
    assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED, "{}", refused.body);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_no_text_is_an_error_like_all_others() {
    let (_system, _upstream, _account, client) = system().await;
    let answer = client.send(Method::GET, "/v1/models/%FF", "").await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (StatusCode::NOT_FOUND, &json!("model_not_found")));
    let answer = client.send(Method::GET, "/v1/models/vendor/model", "").await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (StatusCode::NOT_FOUND, &json!("model_not_found")));
}
