//! The gateway's own parts without what a gateway is for: its accept loop, its router and its HTTP client pass a request on
//! and an answer back. No key, no limits, no hold, no count, no event: what is beyond this is what metering costs.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clap::Args;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[derive(Args)]
pub(crate) struct Options {
    /// Where it listens.
    address: String,
    /// Where the upstream listens.
    upstream: String,
}

struct Proxy {
    upstream: Uri,
    client: Client<HttpConnector, Body>,
}

/// Passes on until it is killed.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let upstream = format!("http://{}/v1/chat/completions", options.upstream).parse()?;
    let proxy = Arc::new(Proxy { upstream, client });
    let routes =
        Router::new().route("/v1/chat/completions", post(pass)).route("/healthz", axum::routing::get(|| async {}));
    let listener = TcpListener::bind(&options.address).await?;
    ::gateway::server::serve(listener, routes.with_state(proxy), CancellationToken::new()).await;
    Ok(())
}

async fn pass(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let mut passed = http::Request::new(request.into_body());
    *passed.method_mut() = http::Method::POST;
    *passed.uri_mut() = proxy.upstream.clone();
    let json = HeaderValue::from_static("application/json");
    *passed.headers_mut() = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
    match proxy.client.request(passed).await {
        Ok(answer) => answer.map(Body::new).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
