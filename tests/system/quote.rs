//! `POST /v1/quote` says what the completion then does.

use std::time::Duration;

use http::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::client::{Answer, Client};
use crate::system::{System, decimal};

/// A token of output costs a tenth of a cent; the demo model answers two words with 44 of them.
const MODELS: &str = r#"
    [[models]]
    id = "dear"
    upstream = "demo"
    context_tokens = 1000
    max_output_tokens = 1000
    price = { input = "0", cached_input = "0", output = "1000" }

    [[models]]
    id = "other"
    upstream = "demo"
    context_tokens = 1000
    max_output_tokens = 1000
    price = { input = "0", cached_input = "0", output = "1000" }
"#;
/// What a gateway knows of an account and its lease is a second old at most.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

async fn quote(client: &Client, body: &Value) -> Answer {
    client.send(Method::POST, "/v1/quote", body.to_string()).await
}

fn ask(max_tokens: Option<u64>) -> Value {
    let mut body = json!({"model": "dear", "messages": [{"role": "user", "content": "a b"}]});
    if let Some(most) = max_tokens {
        body["max_tokens"] = json!(most);
    }
    body
}

/// Quotes a request and then sends it: it is answered where the quote says so and costs no more than its hold, or is refused
/// with the quote's words. Gives the quote.
async fn check(client: &Client, body: &Value) -> Value {
    let quoted = quote(client, body).await;
    assert_eq!(quoted.status, StatusCode::OK, "{}", quoted.body);
    let mut quoted = quoted.json();
    assert_eq!((&quoted["object"], &quoted["model"]), (&json!("quote"), &json!("dear")), "{quoted}");
    let answer = client.send(Method::POST, "/v1/chat/completions", body.to_string()).await;
    assert_eq!(quoted["admitted"], json!(answer.status == StatusCode::OK), "{quoted}: {}", answer.body);
    if answer.status == StatusCode::OK {
        assert_eq!(quoted["error"], Value::Null);
        let (charge, hold) = (answer.charge(), &quoted["hold"]);
        assert!(charge.cost <= decimal(&hold["cost_usd"]), "{quoted}: {charge:?}");
        assert!(charge.completion <= hold["max_tokens"].as_u64().expect("a count"), "{quoted}: {charge:?}");
    } else {
        let error = quoted["error"].as_object_mut().expect("an error");
        assert_eq!(error.remove("status"), Some(json!(answer.status.as_u16())));
        let retry_after = answer
            .headers
            .get("retry-after")
            .map(|value| value.to_str().expect("text").parse::<u64>().expect("seconds"));
        assert_eq!(error.remove("retry_after_seconds"), Some(json!(retry_after)));
        assert_eq!(answer.json()["error"], quoted["error"]);
        assert_eq!((&quoted["hold"], &quoted["funding"]), (&Value::Null, &Value::Null), "{quoted}");
    }
    quoted
}

#[tokio::test]
async fn a_quote_says_what_the_completion_then_does() {
    let system = System::embedded_with(MODELS).await;
    let (account, client) = system.open_account("owner@example.com").await;
    let take = async |amount: &str| {
        system.admin(&["adjust", "--account", &account, "--take", amount, "--reason", "test"]).await;
    };

    // Where there is plenty, bytes are the prompt's bound.
    let body = ask(Some(100));
    let worst = json!({"prompt_tokens": body.to_string().len(), "completion_tokens": 100, "cost_usd": "0.1"});
    let quoted = check(&client, &body).await;
    assert_eq!(quoted["worst_case"], worst);
    let mut hold = worst.clone();
    hold["max_tokens"] = json!(100);
    hold["clamped"] = json!(false);
    assert_eq!((&quoted["hold"], &quoted["funding"]), (&hold, &json!({"plan_tokens": 0, "credit_usd": "0.1"})));

    // Two answers of up to 1,000 tokens, of what a key may use: 30 cents.
    let key = system.admin(&["issue-key", "--account", &account, "--usd-per-day", "0.3", "--models", "dear"]).await;
    let limited = Client::new(&system.address, key["secret"].as_str().expect("text"));
    let mut two = ask(None);
    two["n"] = json!(2);
    let quoted = check(&limited, &two).await;
    assert_eq!(quoted["worst_case"]["completion_tokens"], json!(2_000));
    assert_eq!(quoted["hold"]["completion_tokens"], json!(300));
    assert_eq!((&quoted["hold"]["max_tokens"], &quoted["hold"]["clamped"]), (&json!(150), &json!(true)));
    system.admin(&["revoke-key", "--account", &account, "--key", key["key_id"].as_str().expect("text")]).await;
    let key = system.admin(&["issue-key", "--account", &account, "--models", "other"]).await;
    let elsewhere = Client::new(&system.address, key["secret"].as_str().expect("text"));
    assert_eq!(check(&elsewhere, &ask(None)).await["error"]["code"], json!("key_limit"));

    // What is left is less than the longest answer; then it is nothing.
    let left = system.balance(&account).await;
    take(&(left - Decimal::new(5, 2)).to_string()).await;
    system.balance_becomes(&account, Decimal::new(5, 2)).await;
    sleep(KNOWN_WITHIN).await;
    let quoted = check(&client, &ask(None)).await;
    assert_eq!(quoted["worst_case"]["completion_tokens"], json!(1_000));
    assert_eq!((&quoted["hold"]["max_tokens"], &quoted["hold"]["clamped"]), (&json!(50), &json!(true)));
    assert_eq!(quoted["funding"], json!({"plan_tokens": 0, "credit_usd": "0.05"}));
    let left = system.balance(&account).await;
    take(&left.to_string()).await;
    assert_eq!(check(&client, &ask(None)).await["error"]["code"], json!("insufficient_balance"));
    system.admin(&["suspend", "--account", &account, "--reason", "test"]).await;
    sleep(KNOWN_WITHIN).await;
    assert_eq!(check(&client, &ask(None)).await["error"]["code"], json!("account_suspended"));
}

#[tokio::test]
async fn a_quote_costs_and_counts_nothing() {
    let system = System::embedded_with(&format!("{MODELS}\n[[plans]]\nid = \"free\"\nrequests_per_minute = 3\n")).await;
    let (account, client) = system.open_account("owner@example.com").await;
    for _ in 0..3 {
        let quoted = quote(&client, &ask(Some(10))).await;
        assert_eq!((quoted.status, quoted.header("x-ratelimit-remaining-requests")), (StatusCode::OK, "3"));
    }
    // Quotes have the same limit for themselves.
    assert_eq!(quote(&client, &ask(None)).await.status, StatusCode::TOO_MANY_REQUESTS);
    let mut spent = Decimal::ZERO;
    for _ in 0..3 {
        spent += client.complete(&ask(Some(10))).await.cost;
    }
    system.balance_becomes(&account, Decimal::from(5) - spent).await;
    let statement = system.admin(&["statement", "--account", &account]).await;
    assert_eq!(statement["entries"].as_array().expect("entries").len(), 1 + 3);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_has_no_quote() {
    let system = System::embedded_with(MODELS).await;
    let (_, client) = system.open_account("owner@example.com").await;
    let check = async |client: &Client, body: &str, status: u16, code: &str| {
        for path in ["/v1/quote", "/v1/chat/completions"] {
            let answer = client.send(Method::POST, path, body.to_owned()).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (status, &json!(code)), "{path}");
        }
    };
    check(&client, "{", 400, "invalid_request").await;
    check(&client, r#"{"model":"dear","messages":[]}"#, 400, "invalid_request").await;
    check(&client, r#"{"model":"nothing","messages":[{"role":"user","content":"a"}]}"#, 404, "model_not_found").await;
    check(&Client::new(&system.address, "mh-sk-nobody"), &ask(None).to_string(), 401, "invalid_api_key").await;
}
