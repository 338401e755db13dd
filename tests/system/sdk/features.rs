//! The SDKs' typed errors, their streaming helpers, and requests and answers whose every byte must pass.

use http::Method;
use serde_json::{Value, json};
use tests::sdk::{self, Sdk};

use super::output;
use crate::client::Client;
use crate::system::System;
use crate::upstream::{Piece, Script, Upstream};

const ERROR: &str = r#"{"error":{"message":"no","type":"x","param":null,"code":null}}"#;

/// `m` on a scripted upstream. A trial account's $5 do not pay for one token of `dear`.
async fn system() -> (System, Upstream, Client) {
    let (upstream, base_url) = Upstream::start().await;
    let model = |id: &str, price: &str| {
        format!(
            "[[models]]\nid = \"{id}\"\nupstream = \"scripted\"\ncontext_tokens = 1000000\nmax_output_tokens = 1000\n\
             price = {{ input = \"{price}\", cached_input = \"0\", output = \"{price}\" }}\n"
        )
    };
    let system = System::embedded_with(&format!(
        "[[upstreams]]\nname = \"scripted\"\nbase_url = \"{base_url}\"\nfirst_token_timeout_ms = 2000\n{}{}\
         [[plans]]\nid = \"free\"\nrequests_per_minute = 100\n",
        model("m", "1"),
        model("dear", "9000000"),
    ))
    .await;
    let (_, client) = system.open_account("programmer@example.com").await;
    (system, upstream, client)
}

/// Each status that this API sends, as the error that a program catches. `other` is the class of statuses without one.
async fn errors(sdk: &Sdk, script: &str, other: &str) {
    let (system, upstream, client) = system().await;
    let (suspended, outcast) = system.open_account("outcast@example.com").await;
    system.admin(&["suspend", "--account", &suspended, "--reason", "a test"]).await;
    let (_, hasty) = system.open_account("hasty@example.com").await;
    for _ in 0..100 {
        hasty.send(Method::POST, "/v1/chat/completions", "{}").await;
    }
    for script in [
        Script::json(500, ERROR),
        Script::json(429, ERROR),
        Script { pieces: vec![Piece::Hang], ..Script::json(200, "") },
    ] {
        upstream.next(script);
    }
    // A fault of ours can't be made from outside: its answer, as `gateway/src/error.rs` writes it.
    let (faulty, faulty_url) = Upstream::start().await;
    faulty.next(Script::json(
        500,
        r#"{"error":{"message":"The server failed.","type":"api_error","param":null,"code":"internal_error"}}"#,
    ));

    let ours = format!("{}/v1", client.base);
    let case = |base_url: &str, key: &str, model: &str, characters: usize| json!({"base_url": base_url, "key": key, "model": model, "characters": characters});
    let cases = json!([
        case(&ours, &client.key, "m", 0),
        case(&ours, "mh-sk-wrong", "m", 1),
        case(&ours, &client.key, "dear", 1),
        case(&ours, &outcast.key, "m", 1),
        case(&ours, &client.key, "none", 1),
        case(&ours, &client.key, "m", 32 << 20),
        case(&ours, &hasty.key, "m", 1),
        case(&faulty_url, &client.key, "m", 1),
        case(&ours, &client.key, "m", 1),
        case(&ours, &client.key, "m", 1),
        case(&ours, &client.key, "m", 1),
    ]);
    let mut command = sdk.command(script);
    command.env("CASES", cases.to_string());
    let seen: Value = serde_json::from_str(&output(&command).await).expect("JSON");
    let error = |class: &str, status: u16, code: &str, r#type: &str| {
        json!({
            "class": class, "status": status, "code": code, "type": r#type, "is_told": true,
            "retry_after": matches!(status, 429 | 503),
        })
    };
    let expected = [
        error("BadRequestError", 400, "invalid_request", "invalid_request_error"),
        error("AuthenticationError", 401, "invalid_api_key", "authentication_error"),
        error(other, 402, "insufficient_balance", "insufficient_balance_error"),
        error("PermissionDeniedError", 403, "account_suspended", "permission_error"),
        error("NotFoundError", 404, "model_not_found", "invalid_request_error"),
        error(other, 413, "request_too_large", "invalid_request_error"),
        error("RateLimitError", 429, "rate_limited", "rate_limit_error"),
        error("InternalServerError", 500, "internal_error", "api_error"),
        error("InternalServerError", 502, "upstream_error", "upstream_error"),
        error("InternalServerError", 503, "upstream_error", "upstream_error"),
        error("InternalServerError", 504, "upstream_timeout", "upstream_error"),
    ];
    for (at, expected) in expected.iter().enumerate() {
        assert_eq!(&seen[at], expected, "case {at}");
    }
    assert_eq!(seen.as_array().map(Vec::len), Some(expected.len()));
}

fn stream(choices: &[&str]) -> Script {
    let data = |json: &str| Piece::Bytes(format!("data: {json}\n\n").into());
    let head = r#""id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m""#;
    let mut pieces: Vec<_> =
        choices.iter().map(|choice| data(&format!(r#"{{{head},"choices":[{choice}]}}"#))).collect();
    pieces.push(data(&format!(
        r#"{{{head},"choices":[],"usage":{{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}}}"#
    )));
    pieces.push(data("[DONE]"));
    Script::stream(pieces)
}

fn whole(message: &str, finish_reason: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant",{message}}},"finish_reason":"{finish_reason}","logprobs":null}}],"usage":{{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}},"x":1.0}}"#
    )
}

/// What the upstream gets is what the SDK sent, and the other way round, but for the price.
async fn features(sdk: &Sdk, script: &str) {
    let (_system, upstream, client) = system().await;
    let role = r#"{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}"#;
    let content = |text: &str| format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}"#);
    let end = |reason: &str| format!(r#"{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}"#);
    let fragment =
        |call: &str| format!(r#"{{"index":0,"delta":{{"tool_calls":[{{"index":0,{call}}}]}},"finish_reason":null}}"#);
    let arguments = r#"{\"city\" :\"K\u00f6ln\"}"#;
    let call = format!(
        r#""content":null,"tool_calls":[{{"id":"call_1","type":"function","function":{{"name":"weather","arguments":"{arguments}"}}}}]"#
    );
    let answers = [
        whole(&call, "tool_calls"),
        whole(r#""content":"{\"city\": \"K\\u00f6ln\"}""#, "stop"),
        whole(r#""content":"Ein Pixel.""#, "stop"),
    ];
    upstream.next(stream(&[role, &content("Gr\\u00fc"), &content("ße!"), &end("stop")]));
    upstream.next(stream(&[
        role,
        &fragment(r#""id":"call_1","type":"function","function":{"name":"weather","arguments":""}"#),
        &fragment(r#""function":{"arguments":"{\"city\" :"}"#),
        &fragment(r#""function":{"arguments":"\"K\u00f6ln\"}"}"#),
        &end("tool_calls"),
    ]));
    let endless = content(&" x".repeat(5));
    upstream.next(stream(&[role, &endless, &endless, &endless, &endless, &endless, &end("stop")]));
    answers.iter().for_each(|answer| upstream.next(Script::json(200, answer)));

    let mut command = sdk.command(script);
    command.env("BASE_URL", format!("{}/v1", client.base)).env("API_KEY", &client.key);
    let output: Value = serde_json::from_str(&output(&command).await).expect("JSON");
    let (seen, sent) = (&output["seen"], &output["sent"]);
    let shown = |text: Option<&str>, finish_reason: &str, calls: Value, tokens: [u64; 3]| json!({"text": text, "finish_reason": finish_reason, "calls": calls, "tokens": tokens});
    let weather = || json!([["call_1", "weather", "{\"city\" :\"Köln\"}"]]);
    let measured = [7, 3, 10];
    assert_eq!(seen["streamed_text"], shown(Some("Grüße!"), "stop", json!([]), measured));
    assert_eq!(seen["streamed_call"], shown(None, "tool_calls", weather(), measured));
    // Two tokens were asked for; ten more may be a matter of tokenizers. The SDK takes our end as it would the upstream's.
    let cut = " x".repeat(10);
    assert_eq!(seen["streamed_cut"], shown(Some(&cut), "length", json!([]), [6, 2, 8]));
    for (name, answer) in ["call", "schema", "image"].into_iter().zip(&answers) {
        let priced = answer.replace(r#""total_tokens":10}"#, r#""total_tokens":10,"cost_usd":0.00001}"#);
        assert_eq!(seen[name]["raw"], priced, "{name}");
    }
    assert_eq!((&seen["call"]["calls"], &seen["call"]["finish_reason"]), (&weather(), &json!("tool_calls")));
    assert_eq!(seen["schema"]["text"], "{\"city\": \"K\\u00f6ln\"}");
    let sent: Vec<_> = sent.as_array().expect("requests").iter().map(|body| body.as_str().expect("text")).collect();
    assert_eq!(upstream.bodies(), sent, "byte for byte");
    assert!(sent[5].contains("data:image/png;base64,iVBORw0KGgo"), "{}", sent[5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_catches_a_typed_error_of_each_status() {
    errors(sdk::python().await, include_str!("errors.py"), "APIStatusError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_program_catches_a_typed_error_of_each_status() {
    errors(sdk::node().await, include_str!("errors.mjs"), "APIError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_sees_tools_schemas_and_images_pass() {
    features(sdk::python().await, include_str!("features.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_program_sees_tools_schemas_and_images_pass() {
    features(sdk::node().await, include_str!("features.mjs")).await;
}
