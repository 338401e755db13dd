//! A request's line in the log, and the id by which it is found.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::client::Client;
use crate::system::System;

const PATIENCE: Duration = Duration::from_mins(1);
const SECRET_WORDS: &str = "the words of a prompt";

fn request(model: &str, stream: bool) -> String {
    let mut request = json!({"model": model, "messages": [{"role": "user", "content": SECRET_WORDS}]});
    if stream {
        request["stream"] = json!(true);
        request["stream_options"] = json!({"include_usage": true});
    }
    request.to_string()
}

/// The lines of requests, once there are so many.
async fn lines(system: &System, count: usize) -> Vec<Map<String, Value>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = system.service("serve").stderr();
        let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let mut lines = Vec::new();
        for line in whole {
            let mut line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if line["target"] == "modelhub::request" {
                assert_eq!(line["level"], "INFO");
                let Value::Object(fields) = line["fields"].take() else { panic!("{line}") };
                lines.push(fields);
            }
        }
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < deadline, "{} lines, not {count}: {log}", lines.len());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_leaves_one_line_under_its_answer_s_id() {
    let system = System::embedded_with_variables("", &[("MODELHUB_LOG", "json")]).await;
    let (account, client) = system.open_account("owner@example.com").await;
    let completion = async |body: String| client.send(Method::POST, "/v1/chat/completions", body).await;
    let mut expected = Vec::new();
    for stream in [false, true] {
        let answer = completion(request("qwen-turbo", stream)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let (id, charge) = (answer.header("x-request-id").to_owned(), answer.charge());
        expected.push(json!({
            "message": "request", "request_id": id, "account": account, "model": "qwen-turbo", "upstream": "demo",
            "stream": stream, "status": 200, "outcome": "completed", "accuracy": "measured",
            "prompt_tokens": charge.prompt, "cached_prompt_tokens": 0, "completion_tokens": charge.completion,
            "reasoning_tokens": 0, "cost_usd": charge.cost.normalize().to_string(),
            "credit_usd": charge.cost.normalize().to_string(), "recorded": true,
        }));
    }
    let refused = completion(request("no-such", false)).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let id = refused.header("x-request-id").to_owned();
    let code = "model_not_found";
    expected.push(json!({"message": "request", "request_id": id, "account": account, "status": 404, "code": code}));
    // Nobody's request leaves none.
    let stranger = Client::new(&system.address, "mh-sk-nobody");
    let unknown = stranger.send(Method::POST, "/v1/chat/completions", request("qwen-turbo", false)).await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    completion(request("qwen-turbo", false)).await;

    let mut lines = lines(&system, expected.len() + 1).await;
    assert_eq!(lines.len(), expected.len() + 1, "{lines:#?}");
    for (line, expected) in lines.iter_mut().zip(&expected) {
        let is_stream = expected["stream"] == true;
        assert!(line.remove("key").is_some_and(|key| key.is_string()), "{line:?}");
        assert_eq!(line.remove("ms").is_some_and(|ms| ms.is_u64()), expected["status"] == 200, "{line:?}");
        assert_eq!(line.remove("first_token_ms").is_some_and(|ms| ms.is_u64()), is_stream, "{line:?}");
        assert_eq!(json!(line), *expected);
    }
    let log = system.output();
    assert!(!log.contains(SECRET_WORDS) && !log.contains(&client.key), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_a_request_id_of_its_own() {
    let system = System::embedded().await;
    let (_, client) = system.open_account("owner@example.com").await;
    let stranger = Client::new(&system.address, "mh-sk-nobody");
    let mut ids = std::collections::BTreeSet::new();
    let mut check = async |client: &Client, method: Method, path: &str, body: String, status: u16| {
        let answer = client.send(method.clone(), path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.body);
        let id: uuid::Uuid = answer.header("x-request-id").parse().expect("a UUID");
        assert!(ids.insert(id), "{method} {path}: {id} again");
    };
    let nothing = String::new;
    check(&client, Method::GET, "/healthz", nothing(), 200).await;
    check(&client, Method::GET, "/readyz", nothing(), 200).await;
    check(&client, Method::GET, "/v1/models", nothing(), 200).await;
    check(&client, Method::POST, "/v1/chat/completions", request("qwen-turbo", false), 200).await;
    check(&client, Method::POST, "/v1/chat/completions", request("qwen-turbo", true), 200).await;
    check(&client, Method::POST, "/v1/chat/completions", request("no-such", false), 404).await;
    check(&client, Method::POST, "/v1/chat/completions", "{".to_owned(), 400).await;
    check(&client, Method::GET, "/v1/chat/completions", nothing(), 405).await;
    check(&client, Method::GET, "/nowhere", nothing(), 404).await;
    check(&stranger, Method::GET, "/v1/models", nothing(), 401).await;
    check(&stranger, Method::GET, "/nowhere", nothing(), 401).await;
}
