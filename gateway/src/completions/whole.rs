//! An answer in one piece.

use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use schemas::TokenCounts;
use schemas::event::{Accuracy, Outcome};
use serde_json::value::RawValue;

use super::answer::Answer;
use super::{Job, Reply, explain, not_durable};
use crate::error::ApiError;
use crate::json_edit::Edits;
use crate::meter::Ending;
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
            let tokens = TokenCounts { prompt: job.prompt_estimate, ..TokenCounts::default() };
            let ending = Ending { outcome: Outcome::ClientGone, accuracy: Accuracy::Estimated, tokens };
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
    let (accuracy, tokens) = match answer.tokens() {
        Some(tokens) => (Accuracy::Measured, tokens),
        None => {
            let completion = super::usage::estimate_tokens(answer.delivered().output_bytes).min(job.max_output());
            let prompt = job.prompt_estimate;
            (Accuracy::Estimated, TokenCounts { prompt, completion, ..TokenCounts::default() })
        }
    };
    let public_model = job.meter.admitted().model.clone();
    let ending = Ending { outcome: Outcome::Completed, accuracy, tokens };
    let response = match job.meter.finish(ending).await {
        Err(_) => Err(not_durable()),
        Ok(cost) => {
            let mut edits = Edits::default();
            answer.rename_model(&text, &mut edits, &job.upstream_model, &public_model);
            answer.add_cost(&text, whole, &mut edits, &tokens, cost);
            Ok(respond(edits.apply(&text), content_type))
        }
    };
    let _ = reply.send(response);
}

fn respond(text: Bytes, content_type: Option<HeaderValue>) -> Response {
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/json"));
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], text).into_response()
}
