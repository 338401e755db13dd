//! Limits of API keys: models, an end, and money in a day and a month.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::books;
use crate::client::{Answer, Client};
use crate::system::{Stop, System};

/// A token of output costs a tenth of a cent; an answer of the demo model to two words takes 44 of them.
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

async fn ask(client: &Client, model: &str, most: u64) -> Answer {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "a b"}], "max_tokens": most});
    client.send(Method::POST, "/v1/chat/completions", body.to_string()).await
}

#[track_caller]
fn assert_limited(answer: &Answer, message: &str) {
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["code"]), (StatusCode::FORBIDDEN, &json!("key_limit")), "{error}");
    assert!(error["message"].as_str().expect("text").contains(message), "{error}");
}

async fn issue(system: &System, account: &str, limits: &[&str]) -> (String, Client) {
    let issued = system.admin(&[&["issue-key", "--account", account], limits].concat()).await;
    let text = |name: &str| issued[name].as_str().expect("text").to_owned();
    (text("key_id"), Client::new(&system.address, &text("secret")))
}

/// What the key is told of itself by the operator's list.
async fn limits(system: &System, account: &str, key: &str) -> Value {
    let keys = system.admin(&["list-keys", "--account", account]).await;
    let key = keys.as_array().expect("keys").iter().find(|info| info["key_id"] == key).expect("the key");
    key["limits"].clone()
}

/// Changes are seen within a second.
async fn becomes(client: &Client, model: &str, status: StatusCode) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = ask(client, model, 1).await;
        if answer.status == status {
            return answer;
        }
        assert!(Instant::now() < deadline, "{}: {}", answer.status, answer.body);
        sleep(Duration::from_millis(50)).await;
    }
}

async fn spend(client: &Client, most: u64) -> u64 {
    let answer = ask(client, "dear", most).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.charge().completion
}

async fn a_key_does_what_it_may_and_no_more(system: System) {
    let (account, free) = system.open_account("owner@example.com").await;
    let update = async |key: &str, change: &[&str]| {
        system.admin(&[&["update-key", "--account", &account, "--key", key], change].concat()).await
    };

    let (some, client) = issue(&system, &account, &["--models", "dear"]).await;
    assert_eq!(limits(&system, &account, &some).await, json!({"models": ["dear"]}));
    assert_eq!(spend(&client, 1).await, 1);
    assert_limited(&ask(&client, "other", 1).await, "may not use the model `other`. It may use: `dear`.");
    assert_eq!(ask(&client, "nobody", 1).await.status, StatusCode::NOT_FOUND);
    update(&some, &["--expires-at", "2026-01-01T00:00:00Z"]).await;
    let ended = becomes(&client, "dear", StatusCode::FORBIDDEN).await;
    assert_limited(&ended, "ended at 2026-01-01T00:00:00");
    assert_limited(&client.send(Method::GET, "/api/balance", "").await, "ended at");
    update(&some, &["--no-limits", "--name", "free again"]).await;
    assert_eq!(limits(&system, &account, &some).await, Value::Null);
    becomes(&client, "other", StatusCode::OK).await;

    // A dollar a day pays for exactly 1,000 tokens, whatever runs at once.
    let (capped, client) = issue(&system, &account, &["--usd-per-day", "1", "--usd-per-month", "1.5"]).await;
    assert_eq!(limits(&system, &account, &capped).await, json!({"usd_per_day": "1", "usd_per_month": "1.5"}));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let client = client.clone();
        tasks.spawn(async move {
            let mut tokens = 0;
            for _ in 0..3 {
                let answer = ask(&client, "dear", 50).await;
                match answer.status {
                    StatusCode::OK => tokens += answer.charge().completion,
                    _ => assert_limited(&answer, "until its day or month (UTC) is over"),
                }
            }
            tokens
        });
    }
    let mut tokens: u64 = tasks.join_all().await.into_iter().sum();
    assert!(tokens <= 1_000, "beyond its limit: {tokens} tokens");
    while tokens < 1_000 {
        tokens += spend(&client, 50).await;
    }
    assert_eq!(tokens, 1_000);
    assert_limited(&ask(&client, "dear", 1).await, "may use $0 more");
    // The account has money for its other keys.
    assert_eq!(spend(&free, 7).await, 7);

    // What a key has used is the log's to know: nothing of it is forgotten by a restart.
    books::applied(&system).await;
    system.restart(Stop::Kill9).await;
    let client = Client::new(&system.address, &client.key);
    assert_limited(&ask(&client, "dear", 1).await, "may use $0 more");
    update(&capped, &["--usd-per-day", "9", "--usd-per-month", "1.25"]).await;
    becomes(&client, "dear", StatusCode::OK).await;
    let mut tokens = 1_001;
    while tokens < 1_250 {
        tokens += spend(&client, 50).await;
    }
    assert_eq!(tokens, 1_250);
    assert_limited(&ask(&client, "dear", 1).await, "may use $0 more");

    for (wrong, why) in [
        (["--models", "nobody"], "no model `nobody` in the catalogue; it has dear, other"),
        (["--usd-per-day", "-1"], "limits.usd_per_day: -1 USD"),
        (["--expires-at", "soon"], "soon"),
    ] {
        let arguments =
            ["issue-key".to_owned(), "--account".to_owned(), account.clone(), format!("{}={}", wrong[0], wrong[1])];
        let refused = system.try_admin(&arguments.each_ref().map(String::as_str)).await.expect_err("refused");
        assert!(refused.contains(why), "{refused}");
    }
    let report = books::applied(&system).await;
    assert_eq!(report["clean"], true, "{report:#}");
}

const PLAN: &str = "\n[[plans]]\nid = \"free\"\nrequests_per_minute = 1000000\nmax_in_flight = 10000\nmax_keys = 9\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_an_embedded_system_does_what_it_may_and_no_more() {
    a_key_does_what_it_may_and_no_more(System::embedded_with(&format!("{MODELS}{PLAN}")).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_distributed_system_does_what_it_may_and_no_more() {
    let kafka = tests::kafka::cluster().await;
    a_key_does_what_it_may_and_no_more(System::distributed_on(kafka, &format!("{MODELS}{PLAN}"), &[]).await).await;
}
