//! What all handlers share, and the routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use eventlog::spool::NoRoom;
use http::{HeaderName, HeaderValue, Method, Uri};
use schemas::RequestId;
use schemas::catalogue::Catalogue;
use schemas::config::{Idempotency, Secret};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::accounts::{Accounts, Identity, Keeper};
use crate::context::Context;
use crate::error::{ApiError, ErrorCode};
use crate::meter::Recorder;
use crate::metrics::{Metrics, Refresh};
use crate::ports::{Ledger, LedgerError, UsageStats};
use crate::upstream::Upstreams;
use crate::usage_log::{Recording, Refused, UsageLog};
use crate::{auth, completions, invoices, models, rate_headers, statement, usage};

/// Where an answer tells its request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The code of an error answer in an upstream's own words.
const UPSTREAM_S_OWN: &str = "upstream_answer";

/// When a request's head was here.
#[derive(Clone, Copy)]
pub(crate) struct Arrived(pub(crate) Instant);

/// What a gateway is made of.
pub struct Parts {
    /// Models on sale.
    pub catalogue: Catalogue,
    /// Who answers, by name; every model's upstream is among them.
    pub upstreams: Upstreams,
    /// Where balances and keys are.
    pub ledger: Arc<dyn Ledger>,
    /// Where usage statistics are.
    pub stats: Arc<dyn UsageStats>,
    /// Where usage events go.
    pub usage_log: UsageLog,
    /// Who it is to the ledger.
    pub identity: Identity,
    /// Under what API keys are hashed.
    pub key_pepper: Secret,
    /// How answers are kept for repeats.
    pub idempotency: Idempotency,
    /// The `source` of this gateway's events.
    pub source: String,
    /// Time and ids.
    pub context: Context,
    /// Where its metrics go.
    pub registry: prometheus::Registry,
}

/// The running gateway.
pub(crate) struct App {
    pub(crate) catalogue: Catalogue,
    pub(crate) upstreams: Upstreams,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) stats: Arc<dyn UsageStats>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) key_pepper: Secret,
    pub(crate) idempotency: Idempotency,
    pub(crate) context: Context,
    pub(crate) tasks: TaskTracker,
}

/// A gateway, ready to serve.
pub struct Gateway {
    /// Its routes.
    pub routes: Router,
    /// The tasks that meter its running requests: wait for those before the process ends.
    pub requests: TaskTracker,
    /// Keeps its leases.
    pub keeper: Keeper,
    /// Brings its metrics up to date.
    pub refresh: Refresh,
}

/// Puts a gateway together.
///
/// # Errors
/// The registry has a gateway's metrics already.
pub fn build(parts: Parts) -> Result<Gateway, prometheus::Error> {
    let tasks = TaskTracker::new();
    let paid_requests_per_minute = parts.catalogue.paid_requests_per_minute;
    let (ledger, context) = (Arc::clone(&parts.ledger), parts.context.clone());
    let accounts = Arc::new(Accounts::new(ledger, parts.identity, context, paid_requests_per_minute));
    let metrics = Arc::new(Metrics::new(&parts.registry, &parts.catalogue)?);
    let refresh = Refresh::new(Arc::clone(&metrics), Arc::clone(&accounts), parts.upstreams.clone());
    let recording = Recording::new(parts.usage_log);
    let recorder =
        Recorder::new(recording, parts.source, &parts.catalogue, parts.context.clone(), Arc::clone(&metrics));
    let app = Arc::new(App {
        accounts: Arc::clone(&accounts),
        recorder: Arc::new(recorder),
        metrics,
        catalogue: parts.catalogue,
        upstreams: parts.upstreams,
        ledger: parts.ledger,
        stats: parts.stats,
        key_pepper: parts.key_pepper,
        idempotency: parts.idempotency,
        context: parts.context,
        tasks: tasks.clone(),
    });
    Ok(Gateway { routes: routes(app), requests: tasks, keeper: Keeper::new(accounts), refresh })
}

fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(completions::create))
        .route("/v1/quote", post(completions::quote::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::show))
        .route("/api/usage", get(usage::usage))
        .route("/api/balance", get(usage::balance))
        .route("/api/statement", get(statement::statement))
        .route("/api/invoices", get(invoices::list))
        .route("/api/invoices/{number}", get(invoices::show))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            ApiError::method_not_allowed(&method, uri.path())
        })
        .fallback(|method: Method, uri: Uri| async move { ApiError::route_not_found(&method, uri.path()) })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), enter))
        .with_state(app)
}

/// What every request passes. It gets an id, in its answer's `x-request-id` and in whatever is logged of it; its caller has to
/// have a key, but on [`auth::OPEN_ROUTES`]; its answer tells what is left of the account's limit.
async fn enter(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = RequestId(app.context.new_id());
    let arrived = Arrived(Instant::now());
    let caller = auth::caller(&app, request.uri().path(), request.headers()).await;
    let mut response = match caller {
        Err(error) => error.into_response(),
        Ok(caller) => {
            let account = caller.as_ref().map(|caller| Arc::clone(&caller.account));
            request.extensions_mut().insert(id);
            request.extensions_mut().insert(arrived);
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            let mut response = next.run(request).await;
            if let Some(account) = account {
                rate_headers::insert(response.headers_mut(), account.standing(Instant::now()));
            }
            response
        }
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let code = response.extensions().get::<ErrorCode>().map_or(UPSTREAM_S_OWN, |code| code.0);
        app.metrics.error(status, code);
    }
    // An answer that was made by an earlier request has that one's id.
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().entry(REQUEST_ID).or_insert(value);
    }
    response
}

/// How long the ledger may take to say that it is ready: whoever asks here does not wait for ever.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// Whether requests would be answered: whether the ledger could lease funds, and usage be recorded.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let late = || LedgerError::Unavailable(format!("no answer within {READY_WITHIN:?}"));
    if let Err(error) = timeout(READY_WITHIN, app.ledger.ready()).await.unwrap_or_else(|_| Err(late())) {
        // The route is open to everybody: the details are for the log.
        tracing::warn!(%error, "not ready");
        let message = "The ledger can't be reached, or can't lease funds now. The gateway's log says why.";
        return ApiError { code: "ledger_not_ready", ..ApiError::unavailable(message) }.into_response();
    }
    match app.recorder.reserve().await {
        Ok(_) => "ready\n".into_response(),
        Err(refused) => {
            tracing::warn!(%refused, "not ready");
            not_recordable(&refused).into_response()
        }
    }
}

/// What a client is told where its usage could not be recorded: before anything was used.
pub(crate) fn not_recordable(refused: &Refused) -> ApiError {
    match refused {
        Refused::NoRoom(NoRoom::Full { .. }) => ApiError::not_recordable(
            "spool_full",
            "The event log has been away for so long that this gateway can't keep any more usage. Nothing was sent to the \
             model and nothing is charged. Try again later.",
        ),
        Refused::NoRoom(_) | Refused::LogFails => ApiError::not_recordable(
            "usage_not_recordable",
            "Usage can't be recorded just now: the disk of this gateway is full or fails. Nothing was sent to the model and \
             nothing is charged. Try again later.",
        ),
    }
}
