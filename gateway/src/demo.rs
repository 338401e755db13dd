//! The built-in demo upstream: deterministic text, real streaming, honest token counts. It is an ordinary
//! OpenAI-compatible server on a loopback port, called like any other upstream, so the first request works offline and
//! takes the same way as every later one.

mod text;
mod wire;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};

use text::Completion;
use wire::{Answer, Choice, Delta, Usage};

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
    let model = request["model"].as_str().unwrap_or_default();
    if request["stream"] == true {
        return streamed(model, &completion, request["stream_options"]["include_usage"] == true);
    }
    let message = Delta { role: Some("assistant"), content: Some(completion.tokens.concat()) };
    let choice =
        Choice { index: 0, message: Some(message), delta: None, finish_reason: Some(completion.finish_reason) };
    let usage = Some(Usage::of(&completion));
    Json(Answer::new("chat.completion", model, &completion, vec![choice], usage)).into_response()
}

/// One event a token, each a piece of its own, as a model sends them.
fn streamed(model: &str, completion: &Completion, include_usage: bool) -> Response {
    let piece = |choices: Vec<Choice>, usage: Option<Usage>| {
        let answer = Answer::new("chat.completion.chunk", model, completion, choices, usage);
        format!("data: {}\n\n", serde_json::to_string(&answer).unwrap_or_default())
    };
    let delta = |role, content, finish_reason| {
        vec![Choice { index: 0, message: None, delta: Some(Delta { role, content }), finish_reason }]
    };
    let none_yet = include_usage.then_some(Usage::NotYet);
    let mut pieces = vec![piece(delta(Some("assistant"), Some(String::new()), None), none_yet)];
    for token in &completion.tokens {
        pieces.push(piece(delta(None, Some(token.clone()), None), none_yet));
    }
    pieces.push(piece(delta(None, None, Some(completion.finish_reason)), none_yet));
    if include_usage {
        pieces.push(piece(Vec::new(), Some(Usage::of(completion))));
    }
    pieces.push("data: [DONE]\n\n".to_owned());
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}
