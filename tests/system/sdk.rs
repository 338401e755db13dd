//! What the product's documentation shows its users, with nothing but base URL and key replaced, and what programs see
//! through the official SDKs.

mod features;

use std::process::Command;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tests::process::Process;
use tests::sdk::{self, Sdk};

use crate::client::Client;
use crate::system::System;

const GREETING: &str = "Hello from ModelHub! How can I help you?";

/// What `command` writes to standard output; it must succeed.
async fn output(command: &Command) -> String {
    let process = Process::start(command);
    assert_eq!(process.exit().await, 0, "{}{}", process.stdout(), process.stderr());
    process.stdout()
}

fn shell(script: &str) -> Command {
    tests::tool::curl();
    let mut command = Command::new("sh");
    command.args(["-euc", script]).env("NO_PROXY", "127.0.0.1");
    command
}

/// A text of the documentation, for this client.
fn for_client(text: &str, client: &Client) -> String {
    let keys = ["YOUR_API_KEY", "mh-sk-your-key"];
    assert_eq!(text.matches("https://modelhub-api.com").count(), 1, "{text}");
    assert_eq!(keys.iter().map(|key| text.matches(key).count()).sum::<usize>(), 1, "{text}");
    let text = text.replace("https://modelhub-api.com", &client.base);
    keys.iter().fold(text, |text, key| text.replace(key, &client.key))
}

/// Each quick start of the documentation answers.
async fn quick_starts(system: &System) {
    let (account, client) = system.open_account("reader@example.com").await;
    let documented = |text| for_client(text, &client);

    let test_your_key = shell(&documented(include_str!("sdk/test-your-key.sh")));
    let curl = shell(&documented(include_str!("sdk/quickstart.sh")));
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":10,"total_tokens":13,"cost_usd":0.0000036}"#;
    for command in [test_your_key, curl] {
        let answer = output(&command).await;
        assert!(answer.contains(r#""choices":[{"#) && answer.contains(usage), "{answer}");
    }

    let (python, node) = tokio::join!(sdk::python(), sdk::node());
    let python = python.command(&documented(include_str!("sdk/quickstart.py")));
    let node = node.command(&documented(include_str!("sdk/quickstart.mjs")));
    let (python, node) = tokio::join!(output(&python), output(&node));
    assert_eq!([python, node], [format!("{GREETING}\n"), format!("{GREETING}\n")]);

    system.balance_becomes(&account, Decimal::from(5) - Decimal::new(4 * 36, 7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_starts_answer_in_embedded_mode() {
    quick_starts(&System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quick_starts_answer_in_distributed_mode() {
    quick_starts(&System::distributed().await).await;
}

/// The documentation's example of a request, whole and streaming, down to the byte.
#[tokio::test(flavor = "multi_thread")]
async fn curl_sees_the_documented_cost() {
    let system = System::embedded().await;
    let (_, client) = system.open_account("curl@example.com").await;
    let complete = async |more: &str| {
        output(&shell(&format!(
            r#"curl --silent --show-error --no-buffer {}/v1/chat/completions \
               -H "Content-Type: application/json" \
               -H "Authorization: Bearer {}" \
               -d '{{
                 "model": "deepseek-v4-flash",
                 "messages": [
                   {{"role": "system", "content": "You are a helpful assistant."}},
                   {{"role": "user", "content": "Hello!"}}
                 ],
                 "temperature": 0.7,
                 "max_tokens": 1024,
                 {more}
               }}'"#,
            client.base, client.key
        )))
        .await
    };
    let usage = r#""usage":{"prompt_tokens":10,"completion_tokens":10,"total_tokens":20,"cost_usd":0.000005}"#;

    let whole = complete(r#""stream": false"#).await;
    let documented = format!(
        r#"","object":"chat.completion","created":1234567890,"model":"deepseek-v4-flash","choices":[{{"index":0,"message":{{"role":"assistant","content":"{GREETING}"}},"finish_reason":"stop"}}],{usage}}}"#
    );
    assert!(whole.starts_with(r#"{"id":"chatcmpl-"#) && whole.ends_with(&documented), "{whole}");

    for (more, asked) in [(r#""stream": true"#, 0), (r#""stream": true, "stream_options": {"include_usage": true}"#, 1)]
    {
        let stream = complete(more).await;
        assert_eq!(stream.matches("data: {").count(), 12 + asked, "the role, ten tokens, the end: {stream}");
        assert_eq!(stream.matches(r#""choices":[]"#).count(), asked, "{stream}");
        assert_eq!(stream.matches(usage).count(), asked, "{stream}");
        assert!(stream.ends_with("\n\ndata: [DONE]\n\n"), "{stream}");
    }
}

/// What a script under `sdk/` sees, and what it is charged in the end.
async fn contract(sdk: &Sdk, script: &str, other_status: &str) {
    // Four tokens of this model's output are what a trial account can pay for.
    let system = System::embedded_with(
        r#"
            [[models]]
            id                = "deepseek-v4-flash"
            upstream          = "demo"
            context_tokens    = 131072
            max_output_tokens = 8192
            price             = { input = "0.20", cached_input = "0.02", output = "0.30" }

            [[models]]
            id                = "dear"
            upstream          = "demo"
            context_tokens    = 131072
            max_output_tokens = 8192
            price             = { input = "0.20", cached_input = "0.02", output = "1000000" }
        "#,
    )
    .await;
    let (account, client) = system.open_account("programmer@example.com").await;
    let mut command = sdk.command(script);
    command.env("BASE_URL", format!("{}/v1", client.base)).env("API_KEY", &client.key);
    let seen = output(&command).await;

    let stream = |with_usage: bool| {
        json!({
            "text": GREETING,
            "pieces": 10,
            "finish_reasons": ["stop"],
            "without_choices": usize::from(with_usage),
            "tokens": if with_usage { json!([[10, 10, 20]]) } else { json!([]) },
            "costs": if with_usage { json!(["0.000005"]) } else { json!([]) },
        })
    };
    // Told at the first try: the SDKs repeat what they think may pass.
    let error = |class: &str, status: u16, code: &str, r#type: &str, param: Option<&str>| {
        json!({
            "class": class, "status": status, "code": code, "type": r#type, "param": param,
            "is_told": true, "requests": 1,
        })
    };
    let expected = json!({
        "models": ["dear", "deepseek-v4-flash"],
        "whole": {
            "text": GREETING, "role": "assistant", "finish_reason": "stop",
            "tokens": [10, 10, 20], "costs": ["0.000005"],
        },
        "stream": stream(false),
        "stream_with_usage": stream(true),
        "wrong_key": error("AuthenticationError", 401, "invalid_api_key", "authentication_error", None),
        "unknown_model": error("NotFoundError", 404, "model_not_found", "invalid_request_error", Some("model")),
        "no_messages": error("BadRequestError", 400, "invalid_request", "invalid_request_error", Some("messages")),
        "used_up": {
            "last_answer": ["Hello from ModelHub!", "length", 10, 4, 14],
            "error": error(other_status, 402, "insufficient_balance", "insufficient_balance_error", None),
        },
    });
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    for (what, expected) in expected.as_object().expect("an object") {
        assert_eq!(&seen[what], expected, "{what}");
    }
    // Six answers at $0.000005, and the last one's 10 tokens and $4.
    system.balance_becomes(&account, Decimal::from(1) - Decimal::new(32, 6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_sees_what_openai_would_show() {
    contract(sdk::python().await, include_str!("sdk/contract.py"), "APIStatusError").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_program_sees_what_openai_would_show() {
    contract(sdk::node().await, include_str!("sdk/contract.mjs"), "APIError").await;
}
