//! What all handlers share, and the routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use eventlog::EventLog;
use http::{HeaderName, HeaderValue, Method, Uri};
use schemas::RequestId;
use schemas::catalogue::Catalogue;
use schemas::config::Secret;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::context::Context;
use crate::error::ApiError;
use crate::meter::Recorder;
use crate::ports::{Ledger, UsageStats};
use crate::upstream::Upstreams;
use crate::{auth, completions, invoices, models, rate_headers, statement, usage};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
    pub log: Arc<dyn EventLog>,
    /// Under what API keys are hashed.
    pub key_pepper: Secret,
    /// The `source` of this gateway's events.
    pub source: String,
    /// Time and ids.
    pub context: Context,
}

/// The running gateway.
pub(crate) struct App {
    pub(crate) catalogue: Catalogue,
    pub(crate) upstreams: Upstreams,
    pub(crate) accounts: Accounts,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) stats: Arc<dyn UsageStats>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) key_pepper: Secret,
    pub(crate) context: Context,
    pub(crate) tasks: TaskTracker,
}

/// A gateway's routes, and the tasks that meter its running requests: wait for those before the process ends.
pub fn build(parts: Parts) -> (Router, TaskTracker) {
    let tasks = TaskTracker::new();
    let app = Arc::new(App {
        accounts: Accounts::new(Arc::clone(&parts.ledger), parts.catalogue.paid_requests_per_minute),
        recorder: Arc::new(Recorder { log: parts.log, source: parts.source, context: parts.context.clone() }),
        catalogue: parts.catalogue,
        upstreams: parts.upstreams,
        ledger: parts.ledger,
        stats: parts.stats,
        key_pepper: parts.key_pepper,
        context: parts.context,
        tasks: tasks.clone(),
    });
    (routes(app), tasks)
}

fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(completions::create))
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
        .layer(middleware::from_fn(rate_headers::add))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), auth::require_key))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), identify))
        .with_state(app)
}

/// Gives every request an id, in its answer's `x-request-id` and in whatever is logged of it.
async fn identify(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = RequestId(app.context.new_id());
    request.extensions_mut().insert(id);
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Whether requests would be answered: whether the ledger can be asked.
async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.ledger.find_key(schemas::event::KeyHash([0; 32])).await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            ApiError::unavailable("The ledger can't be reached.").into_response()
        }
    }
}
