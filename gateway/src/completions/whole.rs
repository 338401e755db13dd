//! An answer in one piece.

use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use schemas::event::Outcome;
use serde_json::value::RawValue;

use super::allowance::Allowance;
use super::answer::Answer;
use super::{Job, Reply, charge, explain, not_durable};
use crate::error::ApiError;
use crate::json_edit::Edits;
use crate::meter::Ending;
use crate::tokens::with_tolerance;
use crate::upstream::{CallError, UpstreamAnswer};

/// The largest answer, in bytes. A larger one is a fault of the upstream.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// What came of a call.
enum Called {
    Answer(Bytes, Option<HeaderValue>),
    ClientGone,
    Refused(CallError),
    Broken(String),
}

pub(super) async fn run(job: Job, mut reply: Reply) {
    if reply.is_closed() {
        let ending = Ending::free(Outcome::ClientGone);
        return job.fail(ending, reply, ApiError::internal()).await;
    }
    match call(&job, &mut reply).await {
        Called::Answer(text, content_type) => answer(job, reply, text, content_type).await,
        Called::ClientGone => {
            let ending = charge::estimated(Outcome::ClientGone, job.prompt_tokens().await, 0, job.meter.held());
            job.fail(ending, reply, ApiError::internal()).await;
        }
        Called::Refused(error) => match explain(&job.upstream, error) {
            Err(error) => job.fail(Ending::free(Outcome::UpstreamFailed), reply, error).await,
            Ok(response) => {
                let recorded = job.meter.finish(Ending::free(Outcome::UpstreamFailed)).await;
                let _ = reply.send(recorded.map(|_| response).map_err(|_| not_durable()));
            }
        },
        Called::Broken(what) => {
            tracing::warn!(upstream = job.upstream.name(), what, "upstream failed");
            let error = ApiError::upstream_failed("The model's server broke off its answer. Try again.");
            job.fail(Ending::free(Outcome::UpstreamFailed), reply, error).await;
        }
    }
}

/// Calls the upstream and reads its answer, for as long as the client is there.
async fn call(job: &Job, reply: &mut Reply) -> Called {
    let mut answer = tokio::select! {
        () = reply.closed() => return Called::ClientGone,
        called = job.upstream.complete(job.body.clone()) => match called {
            Ok(answer) => answer,
            Err(error) => return Called::Refused(error),
        },
    };
    tokio::select! {
        () = reply.closed() => Called::ClientGone,
        read = read(&mut answer) => match read {
            Ok(text) => Called::Answer(text, answer.content_type()),
            Err(what) => Called::Broken(what),
        },
    }
}

async fn read(answer: &mut UpstreamAnswer) -> Result<Bytes, String> {
    let mut text = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.to_string())? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_ANSWER_BYTES {
            return Err(format!("sent more than {MAX_ANSWER_BYTES} bytes"));
        }
    }
    Ok(text.freeze())
}

async fn answer(job: Job, reply: Reply, text: Bytes, content_type: Option<HeaderValue>) {
    let parsed = Answer::parse(&text).zip(serde_json::from_slice::<&RawValue>(&text).ok());
    let Some((answer, whole)) = parsed.filter(|(answer, _)| answer.is_completion()) else {
        tracing::warn!(upstream = job.upstream.name(), "upstream answered 200 without a completion");
        let error = ApiError::upstream_failed("The model's server answered without a completion. Try again.");
        return job.fail(Ending::free(Outcome::UpstreamFailed), reply, error).await;
    };
    let held = job.meter.held();
    let mut edits = Edits::default();
    let ending = match answer.tokens() {
        Some(tokens) => {
            if tokens.completion > held.completion {
                cut(&answer, &text, &mut edits, held.completion);
            }
            charge::measured(tokens, held)
        }
        None => {
            let output = cut(&answer, &text, &mut edits, with_tolerance(held.completion));
            let outcome = if output.is_cut { Outcome::Cut } else { Outcome::Completed };
            charge::estimated(outcome, job.prompt_tokens().await, output.tokens, held)
        }
    };
    if ending.outcome == Outcome::Cut {
        tracing::warn!(upstream = job.upstream.name(), "upstream's answer is beyond what was held, and cut there");
    }
    let public_model = job.meter.admitted().model.clone();
    let response = match job.meter.finish(ending).await {
        Err(_) => Err(not_durable()),
        Ok(cost) => {
            answer.rename_model(&text, &mut edits, &job.upstream_model, &public_model);
            answer.add_cost(&text, whole, &mut edits, &ending.tokens, cost);
            Ok(respond(edits.apply(&text), content_type))
        }
    };
    let _ = reply.send(response);
}

/// What of an answer's output is allowed.
struct Output {
    tokens: u64,
    is_cut: bool,
}

/// Counts the output of an answer, and cuts what is beyond so many tokens, as an upstream would have done that keeps to
/// `max_tokens`.
fn cut(answer: &Answer<'_>, text: &[u8], edits: &mut Edits, tokens: u64) -> Output {
    let mut allowance = Allowance::new(tokens);
    let mut is_cut = false;
    for choice in answer.choices() {
        let mut is_cut_here = false;
        for piece in &choice.texts {
            let fits = allowance.take(piece.place, &piece.text);
            if fits < piece.text.len() {
                edits.replace(text, piece.raw, piece.cut_to(fits));
                is_cut_here = true;
            }
        }
        if is_cut_here {
            match choice.finish_reason {
                Some(reason) => edits.replace(text, reason, "\"length\""),
                None => edits.add_last(text, choice.whole, "finish_reason", "\"length\""),
            }
            if let Some(logprobs) = choice.logprobs {
                edits.replace(text, logprobs, "null");
            }
        }
        is_cut |= is_cut_here;
    }
    Output { tokens: allowance.tokens(), is_cut }
}

fn respond(text: Bytes, content_type: Option<HeaderValue>) -> Response {
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/json"));
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], text).into_response()
}
