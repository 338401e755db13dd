//! An answer in pieces, as server-sent events.
//!
//! The head of the answer waits for the upstream's first event: a 200 whose first event is an error is a failed request.
//! From then on the status is out, so a failure is an `error` event and a proper end of the stream.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use schemas::event::Outcome;
use tokio::sync::mpsc;

use super::relay::{Relay, Step, Terms};
use super::{Job, Reply, explain, not_durable};
use crate::body::{BodySender, channel};
use crate::error::ApiError;
use crate::meter::Ending;
use crate::sse::SseSplitter;
use crate::upstream::UpstreamAnswer;

/// How the upstream's stream ended.
enum End {
    Whole,
    /// It went on beyond the hold.
    Cut,
    ClientGone,
    Failed(String),
}

pub(super) async fn run(job: Job, mut reply: Reply) {
    if reply.is_closed() {
        let ending = Ending::free(Outcome::ClientGone);
        return job.fail(ending, reply, ApiError::internal()).await;
    }
    let mut relay = Relay::new(Terms {
        model: job.meter.admitted().model.clone(),
        upstream_model: job.upstream_model.clone(),
        include_usage: job.request.include_usage,
        choices: job.request.choices,
        held: job.meter.held(),
    });
    let called = tokio::select! {
        () = reply.closed() => return gone(job, &relay, reply).await,
        called = job.upstream.complete(job.body.clone()) => called,
    };
    let answer = match called {
        Ok(answer) => answer,
        Err(error) => {
            return match explain(&job.upstream, error) {
                Err(error) => job.fail(Ending::free(Outcome::UpstreamFailed), reply, error).await,
                Ok(response) => {
                    let recorded = job.meter.finish(Ending::free(Outcome::UpstreamFailed)).await;
                    let _ = reply.send(recorded.map(|_| response).map_err(|_| not_durable()));
                }
            };
        }
    };
    let mut source = Source { answer, splitter: SseSplitter::default(), ended: false };
    let first = tokio::select! {
        () = reply.closed() => return gone(job, &relay, reply).await,
        first = first_bytes(&mut source, &mut relay) => first,
    };
    let (first, end) = match first {
        Ok(first) => first,
        Err(what) => {
            tracing::warn!(upstream = job.upstream.name(), what, "upstream failed before its first token");
            let error = ApiError::upstream_failed(format!("The model's server {what}. Try again."));
            return job.fail(Ending::free(Outcome::UpstreamFailed), reply, error).await;
        }
    };
    let (sender, body) = channel();
    if reply.send(Ok(head(body))).is_err() || sender.send(first).await.is_err() {
        finish(job, &relay, End::ClientGone, &sender).await;
        return;
    }
    let end = match end {
        Some(end) => end,
        None => forward(&mut source, &mut relay, &sender).await,
    };
    // Whatever the upstream still does is of no use to anybody.
    drop(source);
    finish(job, &relay, end, &sender).await;
}

/// The upstream's answer as events.
struct Source {
    answer: UpstreamAnswer,
    splitter: SseSplitter,
    ended: bool,
}

impl Source {
    /// What to do next; `None` at the end of the upstream's bytes.
    async fn step(&mut self, relay: &mut Relay) -> Option<Step> {
        loop {
            let event = if self.ended { self.splitter.finish() } else { self.splitter.next() };
            if let Some(event) = event {
                return Some(relay.event(event));
            }
            if self.ended {
                return None;
            }
            match self.answer.chunk().await {
                Ok(None) => self.ended = true,
                Ok(Some(chunk)) => {
                    if self.splitter.push(&chunk).is_err() {
                        return Some(Step::Failed("sent an endless event".to_owned()));
                    }
                }
                Err(error) => return Some(Step::Failed(error.to_string())),
            }
        }
    }
}

/// The first bytes for the client, and the end where they are all. An upstream that fails before them has failed the
/// request.
async fn first_bytes(source: &mut Source, relay: &mut Relay) -> Result<(Bytes, Option<End>), String> {
    loop {
        match source.step(relay).await {
            Some(Step::Send(bytes)) => return Ok((bytes, None)),
            Some(Step::Nothing) => {}
            Some(Step::Done) => return Ok((Bytes::new(), Some(End::Whole))),
            Some(Step::Cut(bytes)) => return Ok((bytes, Some(End::Cut))),
            Some(Step::Failed(what)) => return Err(what),
            None => return Err("ended its answer before it began".to_owned()),
        }
    }
}

async fn forward(source: &mut Source, relay: &mut Relay, sender: &BodySender) -> End {
    loop {
        let step = tokio::select! {
            () = sender.closed() => return End::ClientGone,
            step = source.step(relay) => step,
        };
        match step {
            Some(Step::Send(bytes)) => {
                if sender.send(bytes).await.is_err() {
                    return End::ClientGone;
                }
            }
            Some(Step::Nothing) => {}
            Some(Step::Done) => return End::Whole,
            Some(Step::Cut(bytes)) => {
                return if sender.send(bytes).await.is_ok() { End::Cut } else { End::ClientGone };
            }
            Some(Step::Failed(what)) => return End::Failed(what),
            None if relay.is_whole() => return End::Whole,
            None => return End::Failed("ended its answer in the middle".to_owned()),
        }
    }
}

/// Records that the client went away before its answer began.
async fn gone(job: Job, relay: &Relay, reply: Reply) {
    let ending = relay.client_gone(job.prompt_tokens().await);
    job.fail(ending, reply, ApiError::internal()).await;
}

/// Records the request, then sends the last bytes.
async fn finish(job: Job, relay: &Relay, end: End, sender: &BodySender) {
    let is_asked = !relay.is_measured() && !matches!(end, End::Failed(_));
    let prompt = if is_asked { job.prompt_tokens().await } else { 0 };
    let (ending, error) = match end {
        End::Whole => (relay.completed(prompt), None),
        End::Cut => {
            tracing::warn!(upstream = job.upstream.name(), "upstream went on beyond max_tokens and was cut");
            (relay.cut(prompt), None)
        }
        End::ClientGone => (relay.client_gone(prompt), None),
        End::Failed(what) => {
            tracing::warn!(upstream = job.upstream.name(), what, "upstream failed in the middle of its answer");
            let message = "The model's server broke off its answer. What was delivered is charged.";
            (relay.upstream_failed(), Some(ApiError::upstream_failed(message)))
        }
    };
    let last = match (job.meter.finish(ending).await, error) {
        (Err(_), _) => error_event(&not_durable()),
        (Ok(_), Some(error)) => error_event(&error),
        (Ok(cost), None) => relay.ending_bytes(&ending, cost),
    };
    // A client that has gone away misses it; the event is recorded all the same.
    let _: Result<(), mpsc::error::SendError<Bytes>> = sender.send(last).await;
}

fn error_event(error: &ApiError) -> Bytes {
    Bytes::from(format!("data: {}\n\n", error.to_json()))
}

fn head(body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (StatusCode::OK, headers, body).into_response()
}
