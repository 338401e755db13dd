//! `POST /v1/chat/completions`: authenticate → limit → hold → proxy → settle.

mod allowance;
mod answer;
mod attached;
mod charge;
mod decide;
mod output;
mod prompt;
pub(crate) mod quote;
mod relay;
mod request;
mod route;
mod stream;
mod usage;
mod whole;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use schemas::catalogue::Model;
use schemas::event::Outcome;
use schemas::{RequestId, Usd};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::accounts::{Caller, Running};
use crate::app::{App, Arrived};
use crate::error::ApiError;
use crate::meter::{Admitted, Ending, Meter, NotDurable, Told};
use crate::request_log::{self, CLIENT_GONE, Metered};
use crate::upstream::{CallError, Sent, Upstream};
use crate::{auth, body, idempotency};
use attached::Attached;
use decide::{Decision, decide, may_use, model, prompt_bound, unadmitted};
use request::{CompletionRequest, WorstCase};
use route::{Route, Routes};

/// The largest request body, in bytes: room for a few images.
const MAX_BODY_BYTES: usize = 32 << 20;

/// An admitted request, on its way to an upstream.
struct Job {
    meter: Meter,
    routes: Routes,
    request: CompletionRequest,
}

/// Where the answer's head goes. Closed when the client has gone away.
type Reply = oneshot::Sender<Result<Response, ApiError>>;

/// A request that was received within the account's limits.
pub(crate) struct Asked {
    running: Running,
    body: Bytes,
    /// When it was here, without what its client took to send it.
    begun: Instant,
}

impl Asked {
    /// As it was sent.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Extension(request_id): Extension<RequestId>,
    Extension(arrived): Extension<Arrived>,
    request: Request,
) -> Response {
    let response = respond(&app, &caller, request_id, arrived, request).await;
    request_log::not_admitted(request_id, &caller, &response);
    response
}

async fn respond(
    app: &Arc<App>,
    caller: &Caller,
    request_id: RequestId,
    arrived: Arrived,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let received = async {
        let key = idempotency::key(&head.headers)?;
        let key = key.map(|key| Ok((auth::presented(&head.headers)?, key))).transpose()?;
        Ok((key, receive(caller, body, arrived).await?))
    };
    match received.await {
        Err::<_, ApiError>(error) => error.into_response(),
        Ok((None, asked)) => answer(app, caller, request_id, asked, None).await,
        // Boxed, as below: what few requests need must not make the futures of all others larger, which are moved several times.
        Ok((Some((api_key, key)), asked)) => {
            Box::pin(idempotency::once(Arc::clone(app), caller.clone(), request_id, asked, (&api_key, key))).await
        }
    }
}

async fn receive(caller: &Caller, body: Body, Arrived(arrived): Arrived) -> Result<Asked, ApiError> {
    may_use(caller.account.status())?;
    let running = caller.account.admit().await.map_err(unadmitted)?;
    let reading = Instant::now();
    let body = body::read(body, MAX_BODY_BYTES).await?;
    Ok(Asked { running, body, begun: arrived + reading.elapsed() })
}

/// Answers a request. `told` hears whether it was charged.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    request_id: RequestId,
    asked: Asked,
    told: Option<Told>,
) -> Response {
    match admit(app, caller, request_id, asked, told).await {
        Err(error) => error.into_response(),
        Ok(job) => {
            let (reply, answer) = oneshot::channel();
            let tasks = app.tasks.clone();
            let answered = match job.request.stream {
                true => Attached::new(stream::run(job, reply), answer, tasks).await,
                false => Attached::new(whole::run(job, reply), answer, tasks).await,
            };
            let mut response = match answered {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => error.into_response(),
                Err(_) => ApiError::internal().into_response(),
            };
            response.extensions_mut().insert(Metered);
            response
        }
    }
}

async fn admit(
    app: &App,
    caller: &Caller,
    request_id: RequestId,
    Asked { running, body, begun }: Asked,
    told: Option<Told>,
) -> Result<Job, ApiError> {
    let request = CompletionRequest::parse(body)?;
    let model = model(app, &request)?;
    let prompt = prompt_bound(caller, &request, model).await;
    let Decision { request, worst, hold, key_hold, room } = decide(app, caller, request, model, prompt).await?;
    let routes = routes(app, model, &request, &worst)?;
    let admitted = Admitted {
        request_id,
        key_id: caller.key_id,
        model: model.id.clone(),
        price: model.price,
        upstream: model.upstream.clone(),
        stream: request.stream,
        held: worst.tokens,
    };
    let meter = Meter::start(Arc::clone(&app.recorder), admitted, hold, room, running);
    let meter = meter.telling(told).limited_by(key_hold).since(begun);
    Ok(Job { meter, routes, request })
}

/// The model's upstreams, each with the request as it gets it.
fn routes(app: &App, model: &Model, request: &CompletionRequest, worst: &WorstCase) -> Result<Routes, ApiError> {
    let mut routes = model.routes().map(|(upstream, model)| {
        let upstream = app.upstreams.get(upstream).cloned().ok_or_else(ApiError::internal)?;
        Ok(Route {
            upstream,
            model: model.to_owned(),
            body: request.upstream_body(model, worst)?,
            sent: Sent::default(),
        })
    });
    let first = routes.next().ok_or_else(ApiError::internal)??;
    Ok(Routes::new(first, routes.collect::<Result<_, ApiError>>()?))
}

impl Job {
    /// Records the one terminal event, with the upstream that was asked last.
    async fn finish(mut self, ending: Ending) -> Result<Usd, NotDurable> {
        self.meter.answered_by(self.routes.current().upstream.name());
        self.meter.finish(ending).await
    }

    /// Records an ending that has no answer to go with it, and says `answer` to the client.
    async fn fail(mut self, ending: Ending, reply: Reply, answer: Result<Response, ApiError>) {
        self.meter.answered_with(match &answer {
            _ if reply.is_closed() => CLIENT_GONE,
            Ok(response) => response.status().as_u16(),
            Err(error) => error.status.as_u16(),
        });
        let answer = match self.finish(ending).await {
            Ok(_) => answer,
            Err(NotDurable) => Err(not_durable()),
        };
        // Nobody may be there any more to hear it.
        let _ = reply.send(answer);
    }

    /// Records that the client went away before it saw anything: charged where the upstream that was to answer has the prompt.
    async fn gone(self, reply: Reply) {
        let ending = match self.routes.current().sent.is_sent() {
            true => charge::estimated(Outcome::ClientGone, self.prompt_tokens().await, 0, self.meter.held()),
            false => Ending::free(Outcome::ClientGone),
        };
        self.fail(ending, reply, Err(ApiError::internal())).await;
    }

    /// Records that no upstream answered, and explains the last one's error. Nothing is charged.
    async fn refused(self, error: CallError, reply: Reply) {
        let answer = explain(&self.routes.current().upstream, error);
        self.fail(Ending::free(Outcome::UpstreamFailed), reply, answer).await;
    }

    /// Tokens of the prompt by local count, never above what is held for it.
    async fn prompt_tokens(&self) -> u64 {
        let (request, most) = (self.request.clone(), self.meter.held().prompt);
        // A long prompt takes its time.
        spawn_blocking(move || request.prompt_tokens_counted(most)).await.unwrap_or(most)
    }
}

fn not_durable() -> ApiError {
    ApiError::unavailable("The request could not be recorded, so its answer is withheld. Try again.")
}

/// What a client is told of an upstream that refused. Its own 401, 403, 429 and 5xx are ours to explain; where the
/// request itself was at fault, the client gets the upstream's words.
fn explain(upstream: &Upstream, error: CallError) -> Result<Response, ApiError> {
    let name = upstream.name();
    tracing::warn!(upstream = name, %error, "no upstream answered");
    let failed = |message: &str| Err(ApiError::upstream_failed(message));
    match error {
        CallError::Timeout(after) => {
            Err(ApiError::upstream_timeout(format!("The model's server did not answer within {after:?}. Try again.")))
        }
        CallError::Stalled(after) => Err(ApiError::upstream_timeout(format!(
            "The model's server stopped in the middle of its answer for {after:?}. Try again."
        ))),
        CallError::Unreachable { .. } => failed("The model's server could not be reached. Try again."),
        CallError::Broken { .. } => failed("The model's server broke off its answer. Try again."),
        CallError::NoAnswer(what) => Err(ApiError::upstream_failed(format!("The model's server {what}. Try again."))),
        CallError::Status { status: StatusCode::TOO_MANY_REQUESTS, retry_after_seconds, .. } => Err(
            ApiError::upstream_busy("The model's server is busy. Try again later.", retry_after_seconds.unwrap_or(1)),
        ),
        CallError::Status { status, body, .. } => {
            let is_the_client_s = matches!(status.as_u16(), 400 | 404 | 413 | 415 | 422);
            if is_the_client_s && answer::Answer::parse(&body).is_some_and(|answer| answer.is_error()) {
                let json = [(http::header::CONTENT_TYPE, "application/json")];
                return Ok((status, json, body).into_response());
            }
            if is_the_client_s {
                return Err(ApiError::invalid_request(
                    None,
                    format!("The model's server refused the request ({status})."),
                ));
            }
            Err(ApiError::upstream_failed(format!("The model's server failed ({status}). Try again.")))
        }
    }
}
