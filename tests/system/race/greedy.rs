//! An upstream that ignores `max_tokens`.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// An upstream that answers with as many tokens as it likes, whatever it is asked for.
pub(super) async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base_url = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let routes = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    base_url
}

/// Between 1 and 400 words of one token each, by the length of what was asked.
async fn answer(body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).expect("JSON");
    let said = request["messages"][0]["content"].as_str().expect("text");
    let (prompt, words) = (said.split_whitespace().count(), 1 + said.len() * 97 % 400);
    sleep(Duration::from_millis((words % 7) as u64)).await;
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words});
    let text = " yes".repeat(words);
    if request["stream"] != json!(true) {
        let choices = json!([{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]);
        let whole = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "um", "choices": choices, "usage": usage});
        return response("application/json", whole.to_string());
    }
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "um", "choices": choices, "usage": usage});
        format!("data: {chunk}\n\n")
    };
    let mut events = String::new();
    for piece in text.as_bytes().chunks(40) {
        let piece = String::from_utf8_lossy(piece);
        events += &chunk(json!([{"index": 0, "delta": {"content": piece}, "finish_reason": null}]), Value::Null);
    }
    events += &chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]), Value::Null);
    events += &chunk(json!([]), usage);
    events += "data: [DONE]\n\n";
    response("text/event-stream", events)
}

fn response(content_type: &str, body: String) -> Response {
    Response::builder().header("content-type", content_type).body(Body::from(body)).expect("a response")
}
