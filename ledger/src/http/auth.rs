//! The shared secret of gateways and ledger.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use schemas::config::Secret;
use subtle::ConstantTimeEq;

use super::answer::Failure;

pub(super) async fn require(
    State(secret): State<Arc<Secret>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // An empty secret would let in whoever sends none.
    let secret = secret.expose().as_bytes();
    let known = given.is_some_and(|given| !secret.is_empty() && bool::from(given.ct_eq(secret)));
    if known { Ok(next.run(request).await) } else { Err(Failure::Unauthorized) }
}
