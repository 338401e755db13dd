//! Answers that are kept for a repeat. They are larger than any other message, and grow by a third as base64.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use schemas::api::{ClaimAnswer, EndAnswer, HoldAnswer};
use schemas::config::Idempotency;

use super::Service;
use super::answer::{Answer, Body, answer};

const MAX_BODY_BYTES: usize = Idempotency::MAX_ANSWER_BYTES / 3 * 4 + (64 << 10);

pub(super) fn routes() -> Router<std::sync::Arc<crate::Ledger>> {
    Router::new()
        .route("/answers/claim", post(claim))
        .route("/answers/hold", post(hold))
        .route("/answers/end", post(end))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn claim(State(service): Service, Body(command): Body<ClaimAnswer>) -> Answer {
    answer(service.claim_answer(command).await)
}

async fn hold(State(service): Service, Body(command): Body<HoldAnswer>) -> Answer {
    answer(service.hold_answer(command).await)
}

async fn end(State(service): Service, Body(command): Body<EndAnswer>) -> Answer {
    answer(service.end_answer(command).await)
}
