//! The built-in demo upstream: deterministic text, real streaming, honest token counts. It is an ordinary
//! OpenAI-compatible server on a loopback port, called like any other upstream, so the first request works offline and
//! takes the same way as every later one.

mod text;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};

use text::Completion;

/// The demo upstream's routes.
pub fn routes() -> Router {
    Router::new().route("/v1/chat/completions", post(complete))
}

async fn complete(body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        let error =
            json!({"error": {"message": "not JSON", "type": "invalid_request_error", "param": null, "code": null}});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    let completion = Completion::answer(&request);
    if request["stream"] == true {
        return streamed(&request, &completion);
    }
    Json(json!({
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": request["model"],
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": completion.tokens.concat()},
            "finish_reason": completion.finish_reason,
        }],
        "usage": usage(&completion),
    }))
    .into_response()
}

fn usage(completion: &Completion) -> Value {
    let (prompt, output) = (completion.prompt_tokens, completion.tokens.len());
    json!({"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output})
}

/// One event a token, each a piece of its own, as a model sends them.
fn streamed(request: &Value, completion: &Completion) -> Response {
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": completion.id,
            "object": "chat.completion.chunk",
            "created": completion.created,
            "model": request["model"],
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        format!("data: {chunk}\n\n")
    };
    let include_usage = request["stream_options"]["include_usage"] == true;
    let none_yet = include_usage.then_some(Value::Null);
    let delta = |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
    let mut pieces = vec![chunk(delta(json!({"role": "assistant", "content": ""}), Value::Null), none_yet.clone())];
    for token in &completion.tokens {
        pieces.push(chunk(delta(json!({"content": token}), Value::Null), none_yet.clone()));
    }
    pieces.push(chunk(delta(json!({}), json!(completion.finish_reason)), none_yet));
    if include_usage {
        pieces.push(chunk(json!([]), Some(usage(completion))));
    }
    pieces.push("data: [DONE]\n\n".to_owned());
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}
