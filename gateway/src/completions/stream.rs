//! An answer in pieces, as server-sent events.
//!
//! The head of the answer waits for the upstream's first token: a 200 that breaks off before it is a failed request, and
//! the next upstream may do better. From then on the status is out, so a failure is an `error` event and a proper end of
//! the stream.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::relay::{Relay, Step, Terms};
use super::route::Route;
use super::{Job, Reply, not_durable};
use crate::body::{BodySender, channel};
use crate::error::ApiError;
use crate::sse::SseSplitter;
use crate::upstream::{CallError, ReadError, UpstreamAnswer};

/// What comes before the first token (the role, say) is held back, unless it is more than this.
const MAX_HELD_BACK_BYTES: usize = 64 << 10;

/// How the upstream's stream ended.
enum End {
    Whole,
    /// It went on beyond the hold.
    Cut,
    ClientGone,
    Failed(Failure),
}

/// How an upstream failed in the middle of its answer.
struct Failure {
    what: String,
    is_late: bool,
}

impl Failure {
    fn of(what: &str) -> End {
        End::Failed(Self { what: what.to_owned(), is_late: false })
    }
}

/// A stream that has begun.
struct Begun {
    source: Source,
    relay: Relay,
    first: Bytes,
    /// Where the first bytes are all.
    end: Option<End>,
}

pub(super) async fn run(mut job: Job, mut reply: Reply) {
    if reply.is_closed() {
        return job.gone(reply).await;
    }
    let terms = Terms {
        model: job.meter.admitted().model.clone(),
        include_usage: job.request.include_usage,
        choices: job.request.choices,
        held: job.meter.held(),
    };
    job.meter.timing().asked(Instant::now());
    let begun = tokio::select! {
        () = reply.closed() => None,
        begun = job.routes.ask(|route, by| begin(route, by, &terms)) => Some(begun),
    };
    let now = Instant::now();
    job.meter.timing().answered(now);
    let Begun { mut source, mut relay, first, end } = match begun {
        None => return job.gone(reply).await,
        Some(Err(error)) => return job.refused(error, reply).await,
        Some(Ok(begun)) => begun,
    };
    job.meter.timing().first_token(now);
    job.meter.head_is_out();
    let (sender, body) = channel();
    let end = match end {
        _ if reply.send(Ok(head(body))).is_err() || sender.send(first).await.is_err() => End::ClientGone,
        Some(end) => end,
        None => forward(&mut source, &mut relay, &sender).await,
    };
    job.meter.timing().answered(Instant::now());
    // Whatever the upstream still does is of no use to anybody.
    drop(source);
    finish(job, &relay, end, &sender).await;
}

/// Calls an upstream and waits for its first token.
async fn begin(route: &Route, by: Instant, terms: &Terms) -> Result<Begun, CallError> {
    let answer = route.upstream.complete(route.body.clone(), &route.sent, by).await?;
    let mut source = Source { answer, splitter: SseSplitter::default(), ended: false };
    let mut relay = Relay::new(terms.clone(), route.model.clone());
    let (first, end) = first_bytes(&mut source, &mut relay).await?;
    source.answer.has_begun();
    Ok(Begun { source, relay, first, end })
}

/// The upstream's answer as events.
struct Source {
    answer: UpstreamAnswer,
    splitter: SseSplitter,
    ended: bool,
}

impl Source {
    /// What to do next; `None` at the end of the upstream's bytes.
    async fn step(&mut self, relay: &mut Relay) -> Result<Option<Step>, ReadError> {
        loop {
            let event = if self.ended { self.splitter.finish() } else { self.splitter.next() };
            if let Some(event) = event {
                return Ok(Some(relay.event(event)));
            }
            if self.ended {
                return Ok(None);
            }
            match self.answer.chunk().await? {
                None => self.ended = true,
                Some(chunk) => {
                    if self.splitter.push(&chunk).is_err() {
                        return Ok(Some(Step::Failed("sent an endless event".to_owned())));
                    }
                }
            }
        }
    }
}

/// The bytes up to the first token, and the end where they are all. Comments that come before it only keep the upstream's
/// connection alive.
async fn first_bytes(source: &mut Source, relay: &mut Relay) -> Result<(Bytes, Option<End>), CallError> {
    let nothing = || CallError::NoAnswer("ended its answer before it began".to_owned());
    let mut held_back = BytesMut::new();
    loop {
        let step = source.step(relay).await.map_err(|error| match error {
            ReadError::Late(after) | ReadError::Idle(after) | ReadError::Silent(after) => CallError::Timeout(after),
            ReadError::Broken(detail) => CallError::Broken { detail, begun: false },
        })?;
        let end = match step {
            Some(Step::Nothing | Step::Comment(_)) => continue,
            Some(Step::Send(bytes)) => {
                held_back.extend_from_slice(&bytes);
                if !relay.has_begun() && held_back.len() < MAX_HELD_BACK_BYTES {
                    continue;
                }
                None
            }
            Some(Step::Done) if relay.has_begun() => Some(End::Whole),
            Some(Step::Cut(bytes)) => {
                held_back.extend_from_slice(&bytes);
                Some(End::Cut)
            }
            Some(Step::Failed(what)) => return Err(CallError::NoAnswer(what)),
            Some(Step::Done) | None => return Err(nothing()),
        };
        return Ok((held_back.freeze(), end));
    }
}

async fn forward(source: &mut Source, relay: &mut Relay, sender: &BodySender) -> End {
    let mut said = relay.content();
    loop {
        let step = tokio::select! {
            () = sender.closed() => return End::ClientGone,
            step = source.step(relay) => step,
        };
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                let is_late = !matches!(error, ReadError::Broken(_));
                return End::Failed(Failure { what: error.to_string(), is_late });
            }
        };
        if said != relay.content() {
            said = relay.content();
            source.answer.has_content();
        }
        match step {
            Some(Step::Send(bytes) | Step::Comment(bytes)) => {
                let sending = Instant::now();
                if sender.send(bytes).await.is_err() {
                    return End::ClientGone;
                }
                source.answer.client_took(sending.elapsed());
            }
            Some(Step::Nothing) => {}
            Some(Step::Done) => return End::Whole,
            Some(Step::Cut(bytes)) => {
                return if sender.send(bytes).await.is_ok() { End::Cut } else { End::ClientGone };
            }
            Some(Step::Failed(what)) => return Failure::of(&what),
            None if relay.is_whole() => return End::Whole,
            None => return Failure::of("ended its answer in the middle"),
        }
    }
}

/// Records the request, then sends the last bytes.
async fn finish(job: Job, relay: &Relay, end: End, sender: &BodySender) {
    let upstream = job.routes.current().upstream.name();
    let is_asked = !relay.is_measured() && !matches!(end, End::Failed(_));
    let prompt = if is_asked { job.prompt_tokens().await } else { 0 };
    let (ending, error) = match end {
        End::Whole => (relay.completed(prompt), None),
        End::Cut => {
            tracing::warn!(upstream, "upstream went on beyond max_tokens and was cut");
            (relay.cut(prompt), None)
        }
        End::ClientGone => (relay.client_gone(prompt), None),
        End::Failed(Failure { what, is_late }) => {
            tracing::warn!(upstream, what, "upstream failed in the middle of its answer");
            let error = match is_late {
                true => ApiError::upstream_timeout(
                    "The model's server stopped in the middle of its answer. What was delivered is charged.",
                ),
                false => {
                    ApiError::upstream_failed("The model's server broke off its answer. What was delivered is charged.")
                }
            };
            (relay.upstream_failed(), Some(error))
        }
    };
    let last = match (job.finish(ending).await, error) {
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
