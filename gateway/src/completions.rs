//! `POST /v1/chat/completions`: authenticate → limit → hold → proxy → settle.

mod answer;
mod relay;
mod request;
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
use schemas::api::{AccountStatus, AccountView};
use schemas::catalogue::Model;
use schemas::{RequestId, Usd};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::accounts::{Caller, Decided, NoFunds, Running};
use crate::app::{App, not_recordable};
use crate::error::ApiError;
use crate::limits::TooMany;
use crate::meter::{Admitted, Ending, Meter, Told};
use crate::upstream::{CallError, Upstream};
use crate::{auth, body, idempotency};
use request::{CompletionRequest, WorstCase};

/// The largest request body, in bytes: room for a few images.
const MAX_BODY_BYTES: usize = 32 << 20;

/// An admitted request, on its way to an upstream.
struct Job {
    meter: Meter,
    upstream: Arc<Upstream>,
    upstream_model: String,
    request: CompletionRequest,
    worst: WorstCase,
    /// Tokens of the prompt by local count: for charges marked `estimated`.
    prompt_estimate: u64,
    body: Bytes,
}

/// Where the answer's head goes. Closed when the client has gone away.
type Reply = oneshot::Sender<Result<Response, ApiError>>;

/// A request that was received within the account's limits.
pub(crate) struct Asked {
    running: Running,
    body: Bytes,
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
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let received = async {
        let key = idempotency::key(&head.headers)?;
        let key = key.map(|key| Ok((auth::presented(&head.headers)?, key))).transpose()?;
        Ok((key, receive(&caller, body).await?))
    };
    match received.await {
        Err::<_, ApiError>(error) => error.into_response(),
        Ok((None, asked)) => answer(&app, &caller, request_id, asked, None).await,
        Ok((Some((api_key, key)), asked)) => idempotency::once(app, caller, request_id, asked, (&api_key, key)).await,
    }
}

async fn receive(caller: &Caller, body: Body) -> Result<Asked, ApiError> {
    may_use(caller.account.status())?;
    let running = caller.account.admit(Instant::now()).map_err(too_many)?;
    let body = body::read(body, MAX_BODY_BYTES).await?;
    Ok(Asked { running, body })
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
            // A task of its own, so that metering goes on when the client goes away.
            app.tasks.spawn(async move {
                if job.request.stream {
                    stream::run(job, reply).await;
                } else {
                    whole::run(job, reply).await;
                }
            });
            match answer.await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => error.into_response(),
                Err(_) => ApiError::internal().into_response(),
            }
        }
    }
}

async fn admit(
    app: &App,
    caller: &Caller,
    request_id: RequestId,
    Asked { running, body }: Asked,
    told: Option<Told>,
) -> Result<Job, ApiError> {
    let mut request = CompletionRequest::parse(body)?;
    let model = app.catalogue.models.get(&request.model).ok_or_else(|| ApiError::model_not_found(&request.model))?;
    let upstream = app.upstreams.get(&model.upstream).cloned().ok_or_else(ApiError::internal)?;
    let key_hold = match &caller.limits {
        None => None,
        Some(key) => {
            key.may_use(&model.id)?;
            let (hold, most) = key.hold(app.context.now(), |left| request.within(model, left)).map_err(key_used_up)?;
            request.allow(most);
            Some(hold)
        }
    };
    let decide = |available| {
        let worst = request.worst_case(model, available)?;
        Some(Decided { funds: worst.hold, full: worst.full, what: worst })
    };
    let want = |account: &AccountView| request.wanted(model, account.plan_tokens);
    let held = caller.account.hold(decide, want).await;
    let (hold, worst) = held.map_err(|no_funds| refuse(&no_funds, &request, model))?;
    let body = request.upstream_body(model, &worst)?;
    let admitted = Admitted {
        request_id,
        key_id: caller.key_id,
        model: model.id.clone(),
        price: model.price,
        upstream: upstream.name().to_owned(),
        stream: request.stream,
    };
    // The last question before the upstream is called: whatever comes of that call can be recorded.
    let room = app.recorder.reserve().await.map_err(|refused| not_recordable(&refused))?;
    let meter =
        Meter::start(Arc::clone(&app.recorder), admitted, hold, room, running).telling(told).limited_by(key_hold);
    let prompt_estimate = request.prompt_tokens_estimate(model);
    let upstream_model = model.upstream_model().to_owned();
    Ok(Job { meter, upstream, upstream_model, request, worst, prompt_estimate, body })
}

/// Only an active account may spend; what it has used and what is left, any account may look at.
fn may_use(status: AccountStatus) -> Result<(), ApiError> {
    match status {
        AccountStatus::Active => Ok(()),
        AccountStatus::Suspended => {
            Err(ApiError::account_suspended("The account is suspended. Contact support to have it reinstated."))
        }
        AccountStatus::Closed => Err(ApiError::account_suspended("The account is closed.")),
    }
}

fn too_many(refused: TooMany) -> ApiError {
    match refused {
        TooMany::InAMinute { limit, retry_after_seconds } => ApiError::rate_limited(
            format!(
                "The plan allows {limit} requests a minute. Try again in {retry_after_seconds} s, or upgrade the plan."
            ),
            retry_after_seconds,
        ),
        TooMany::AtOnce { limit, retry_after_seconds } => ApiError::rate_limited(
            format!(
                "The plan allows {limit} requests at once. Try again when one of them is over, or upgrade the plan."
            ),
            retry_after_seconds,
        ),
    }
}

fn refuse(no_funds: &NoFunds, request: &CompletionRequest, model: &Model) -> ApiError {
    let (available, held) = match no_funds {
        NoFunds::TooLittle { available, held } => (available, held),
        NoFunds::Ledger(error) => {
            tracing::warn!(%error, "funds could not be leased");
            return ApiError::unavailable("The balance can't be looked up just now. Try again.");
        }
    };
    let held = match held.is_none() {
        true => String::new(),
        false => format!(" (running requests hold ${} more)", held.usd),
    };
    ApiError::insufficient_balance(format!(
        "${}{held} is available, which does not pay for this prompt (up to {} tokens) and one output token of {}. \
         Add credits or upgrade the plan.",
        available.usd,
        request.prompt_tokens_bound(model),
        model.id,
    ))
}

fn key_used_up(left: Usd) -> ApiError {
    ApiError::key_limit(format!(
        "This API key may use ${left} more until its day or month (UTC) is over, which does not pay for this prompt and one \
         output token. Use another key, or have its limit raised."
    ))
}

impl Job {
    /// Records an ending that has no answer to go with it, and says `error` to the client.
    async fn fail(self, ending: Ending, reply: Reply, error: ApiError) {
        let error = match self.meter.finish(ending).await {
            Ok(_) => error,
            Err(_) => not_durable(),
        };
        // Nobody may be there any more to hear it.
        let _ = reply.send(Err(error));
    }

    /// The most output tokens that were paid for.
    fn max_output(&self) -> u64 {
        self.worst.output_tokens.saturating_mul(self.request.choices)
    }
}

fn not_durable() -> ApiError {
    ApiError::unavailable("The request could not be recorded, so its answer is withheld. Try again.")
}

/// What a client is told of an upstream that refused. Its own 401, 403, 429 and 5xx are ours to explain; where the
/// request itself was at fault, the client gets the upstream's words.
fn explain(upstream: &Upstream, error: CallError) -> Result<Response, ApiError> {
    let name = upstream.name();
    match error {
        CallError::Timeout(after) => {
            Err(ApiError::upstream_timeout(format!("The model's server did not answer within {after:?}. Try again.")))
        }
        CallError::Unreachable(detail) => {
            tracing::warn!(upstream = name, detail, "upstream unreachable");
            Err(ApiError::upstream_failed("The model's server could not be reached. Try again."))
        }
        CallError::Status { status: StatusCode::TOO_MANY_REQUESTS, retry_after_seconds, .. } => Err(
            ApiError::upstream_busy("The model's server is busy. Try again later.", retry_after_seconds.unwrap_or(1)),
        ),
        CallError::Status { status, body, .. } => {
            tracing::warn!(upstream = name, %status, "upstream refused");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_account_may_spend() {
        let check = |status, expected: Option<(u16, &str)>| {
            let refused = may_use(status).err().map(|error| (error.status.as_u16(), error.code));
            assert_eq!(refused, expected, "{status:?}");
        };
        check(AccountStatus::Active, None);
        check(AccountStatus::Suspended, Some((403, "account_suspended")));
        check(AccountStatus::Closed, Some((403, "account_suspended")));
    }
}
