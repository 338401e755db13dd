//! A ledger without leases: each gateway counts for itself, from the balance that it read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::{HeaderMap, Uri, header};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use schemas::LeaseId;
use schemas::api::{AccountView, Funds, LeaseGrant, LeaseRequest, Share, ShareClaim, ShareGrant, ShareRequest};
use tokio::net::TcpListener;

struct Ledger {
    url: String,
    http: Client<HttpConnector, Body>,
    /// What the account had when each gateway began to count.
    counters: Mutex<HashMap<LeaseId, Funds>>,
}

/// Stands before the ledger at `url`, and passes everything on but messages about leases: to those it says that all that the
/// account has is the gateway's. Gives its own URL.
pub(super) async fn instead_of_leases(url: &str) -> String {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let ledger = Arc::new(Ledger { url: url.to_owned(), http, counters: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let here = format!("http://{}", listener.local_addr().expect("an address"));
    let routes = Router::new().route("/internal/v1/leases", post(count)).fallback(pass_on).with_state(ledger);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    here
}

async fn pass_on(State(ledger): State<Arc<Ledger>>, mut request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("{}{path}", ledger.url).parse::<Uri>().expect("a URL");
    ledger.http.request(request).await.expect("the ledger answers").into_response()
}

#[expect(clippy::large_types_passed_by_value, reason = "what a route takes is a value")]
async fn count(
    State(ledger): State<Arc<Ledger>>,
    headers: HeaderMap,
    Json(request): Json<LeaseRequest>,
) -> Json<LeaseGrant> {
    let account = Request::get(format!("{}/internal/v1/accounts/{}", ledger.url, request.account_id))
        .header(header::AUTHORIZATION, &headers[header::AUTHORIZATION])
        .body(Body::empty())
        .expect("a request");
    let account = ledger.http.request(account).await.expect("the ledger answers");
    let account = account.into_body().collect().await.expect("an answer").to_bytes();
    let account: AccountView = serde_json::from_slice(&account).expect("an account");
    let has = Funds { usd: account.balance_usd, plan_tokens: account.plan_tokens }.max(Funds::ZERO);
    let granted = *ledger.counters.lock().expect("counters").entry(request.lease_id).or_insert(has);
    Json(LeaseGrant {
        lease_id: request.lease_id,
        seq: request.seq,
        granted,
        ttl_ms: 3_000,
        tight: !granted.covers(request.wish),
        free: Funds::ZERO,
        idle_elsewhere: Funds::ZERO,
        account,
        requests: request.requests.map(|share| all_of(&share)),
    })
}

/// Of requests, each gateway gets what it wishes for.
fn all_of(share: &ShareRequest) -> ShareGrant {
    let all = |claim: ShareClaim| Share { most: claim.need.max(claim.wish), fair: None };
    ShareGrant {
        seq: share.seq,
        per_minute: all(share.per_minute),
        at_once: all(share.at_once),
        valid_ms: 3_000,
        retry_after_ms: 0,
        elsewhere: 0,
        elsewhere_leaves_ms: 0,
    }
}
