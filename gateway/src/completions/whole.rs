//! An answer in one piece.

use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use schemas::event::Outcome;
use tokio::time::Instant;

use super::allowance::Allowance;
use super::answer::Answer;
use super::route::Route;
use super::{Job, Reply, charge, not_durable};
use crate::json_edit::Edits;
use crate::meter::NotDurable;
use crate::tokens::with_tolerance;
use crate::upstream::{CallError, ReadError, UpstreamAnswer};

/// The largest answer, in bytes. A larger one is a fault of the upstream.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A whole answer of an upstream.
struct Answered {
    text: Bytes,
    content_type: Option<HeaderValue>,
    /// What the upstream that sent it calls the model.
    upstream_model: String,
}

pub(super) async fn run(mut job: Job, mut reply: Reply) {
    if reply.is_closed() {
        return Box::pin(job.gone(reply)).await;
    }
    job.meter.timing().asked(Instant::now());
    let answered = tokio::select! {
        () = reply.closed() => None,
        answered = job.routes.ask(ask) => Some(answered),
    };
    job.meter.timing().answered(Instant::now());
    match answered {
        // Boxed: what few requests need is not to make the future of all larger, which is moved several times.
        None => Box::pin(job.gone(reply)).await,
        Some(Err(error)) => Box::pin(job.refused(error, reply)).await,
        Some(Ok(answered)) => settle(job, reply, answered).await,
    }
}

async fn ask(route: &Route, by: Instant) -> Result<Answered, CallError> {
    let mut answer = route.upstream.complete(route.body.clone(), &route.sent, by).await?;
    let text = read(&mut answer).await?;
    if Answer::parse(&text).is_none_or(|answer| !answer.is_completion()) {
        return Err(CallError::NoAnswer("answered without a completion".to_owned()));
    }
    Ok(Answered { text, content_type: answer.content_type(), upstream_model: route.model.clone() })
}

async fn read(answer: &mut UpstreamAnswer) -> Result<Bytes, CallError> {
    let mut text = BytesMut::new();
    let mut begun = false;
    loop {
        match answer.chunk().await {
            Ok(None) => return Ok(text.freeze()),
            Ok(Some(chunk)) => {
                text.extend_from_slice(&chunk);
                // Some servers send empty lines for as long as they have nothing else.
                if !chunk.trim_ascii().is_empty() {
                    begun = true;
                    answer.has_begun();
                }
                if text.len() > MAX_ANSWER_BYTES {
                    let detail = format!("it has more than {MAX_ANSWER_BYTES} bytes");
                    return Err(CallError::Broken { detail, begun });
                }
            }
            Err(ReadError::Late(after)) => return Err(CallError::Timeout(after)),
            Err(ReadError::Idle(after) | ReadError::Silent(after)) => return Err(CallError::Stalled(after)),
            Err(ReadError::Broken(detail)) => return Err(CallError::Broken { detail, begun }),
        }
    }
}

async fn settle(job: Job, reply: Reply, answered: Answered) {
    let Answered { text, content_type, upstream_model } = answered;
    let Some(answer) = Answer::parse(&text) else {
        let error = CallError::NoAnswer("answered without a completion".to_owned());
        return Box::pin(job.refused(error, reply)).await;
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
        let upstream = job.routes.current().upstream.name();
        tracing::warn!(upstream, "upstream's answer is beyond what was held, and cut there");
    }
    let public_model = job.meter.admitted().model.clone();
    let response = match job.finish(ending).await {
        Err(NotDurable) => Err(not_durable()),
        Ok(cost) => {
            answer.rename_model(&text, &mut edits, &upstream_model, &public_model);
            answer.add_cost(&text, &mut edits, &ending.tokens, cost);
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
