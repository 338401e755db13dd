//! The private port: what gateways and the command line ask a ledger of another process. JSON over HTTP.
//!
//! | | |
//! |---|---|
//! | `POST /internal/v1/accounts` | [`OpenAccount`] → [`OpenedAccount`](schemas::api::OpenedAccount) |
//! | `GET /internal/v1/accounts/{id}` | → [`AccountView`](schemas::api::AccountView) |
//! | `GET /internal/v1/accounts/{id}/balance` | → [`Balance`](schemas::api::Balance) |
//! | `GET /internal/v1/accounts/{id}/statement?from=&to=&after=&limit=` | → [`Statement`](schemas::api::Statement) |
//! | `GET /internal/v1/invoices?account_id=&after=&limit=` | → [`Invoices`](schemas::api::Invoices) |
//! | `GET /internal/v1/invoices/{number}?account_id=` | → [`Invoice`](schemas::api::Invoice) |
//! | `POST /internal/v1/invoices` | [`IssueInvoices`](schemas::api::IssueInvoices) → [`IssuedInvoices`](schemas::api::IssuedInvoices) |
//! | `POST /internal/v1/accounts/{id}/keys` | [`IssueKey`] → [`IssuedKey`](schemas::api::IssuedKey) |
//! | `GET /internal/v1/accounts/{id}/keys` | → [`KeyInfo`](schemas::api::KeyInfo)s: the live ones |
//! | `POST /internal/v1/accounts/{id}/commands` | [`Command`] → [`Done`](schemas::api::Done) |
//! | `POST /internal/v1/accounts/{id}/grants` | [`GrantCredit`] → [`Granted`](schemas::api::Granted) |
//! | `POST /internal/v1/leases` | [`LeaseRequest`] → [`LeaseGrant`](schemas::api::LeaseGrant) |
//! | `POST /internal/v1/leases/close` | [`CloseLeases`] → [`ClosedLeases`](schemas::api::ClosedLeases) |
//! | `GET /internal/v1/keys/{hash}` | → [`KeyView`](schemas::api::KeyView), or `null` where no live key has that hash |
//! | `GET /internal/v1/partitions/{number}/amounts?from=&to=` | → [`PostedAmount`](schemas::api::PostedAmount)s: what the records there posted |
//! | `POST /internal/v1/answers/claim` | [`ClaimAnswer`](schemas::api::ClaimAnswer) → [`Claimed`](schemas::api::Claimed) |
//! | `POST /internal/v1/answers/hold` | [`HoldAnswer`](schemas::api::HoldAnswer) → whether it is still the holder's |
//! | `POST /internal/v1/answers/end` | [`EndAnswer`](schemas::api::EndAnswer) → [`AnswerEnded`](schemas::api::AnswerEnded) |
//! | `GET /healthz`, `GET /readyz` | the process runs; the store answers and may grant |
//!
//! A [`Refusal`](schemas::api::Refusal) is the body of a 402, 404, 409 or 422; everything else that goes wrong has
//! `{"code", "message"}`: 401 without the shared secret, 503 where the ledger can't do it now. An unknown key is an
//! answer and no 404, so that a wrong URL never reads as a wrong key.

mod answer;
mod answers;
mod auth;
mod invoices;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use schemas::api::{CloseLeases, Command, GrantCredit, IssueKey, LeaseRequest, OpenAccount, StatementQuery};
use schemas::config::Secret;
use schemas::event::KeyHash;
use schemas::{AccountId, Offset, PartitionId, Timestamp};
use serde::Deserialize;

use self::answer::{Answer, Body, Failure, Parameters, Segment, answer};
use crate::Ledger;

const MAX_BODY_BYTES: usize = 64 << 10;
const DEFAULT_ENTRIES: u32 = 100;

type Service = State<Arc<Ledger>>;

/// The private port's routes. Everything but the two health questions needs `secret` as a bearer token.
pub fn router(service: Arc<Ledger>, secret: Secret) -> Router {
    let internal = Router::new()
        .route("/accounts", post(open_account))
        .route("/accounts/{id}", get(account))
        .route("/accounts/{id}/balance", get(balance))
        .route("/accounts/{id}/statement", get(statement))
        .route("/accounts/{id}/keys", get(keys).post(issue_key))
        .route("/accounts/{id}/commands", post(execute))
        .route("/accounts/{id}/grants", post(grant_credit))
        .route("/leases", post(lease))
        .route("/leases/close", post(close_leases))
        .route("/keys/{hash}", get(find_key))
        .route("/partitions/{number}/amounts", get(amounts))
        .route("/invoices", get(invoices::list).post(invoices::issue))
        .route("/invoices/{number}", get(invoices::show))
        .merge(answers::routes())
        .layer(axum::middleware::from_fn_with_state(Arc::new(secret), auth::require));
    Router::new()
        .nest("/internal/v1", internal)
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .fallback(async || Failure::NoRoute)
        .method_not_allowed_fallback(async || Failure::NoRoute)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(service)
}

async fn ready(State(service): Service) -> Answer {
    answer(service.ready().await.map(|()| "ok"))
}

async fn open_account(State(service): Service, Body(command): Body<OpenAccount>) -> Answer {
    answer(service.open_account(command).await)
}

async fn account(State(service): Service, Segment(account): Segment<AccountId>) -> Answer {
    answer(service.account(account).await)
}

async fn balance(State(service): Service, Segment(account): Segment<AccountId>) -> Answer {
    answer(service.balance(account).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    after: Option<u64>,
    limit: Option<u32>,
}

async fn statement(
    State(service): Service,
    Segment(account_id): Segment<AccountId>,
    Parameters(page): Parameters<Page>,
) -> Answer {
    let after = page.after.map(Offset);
    let limit = page.limit.unwrap_or(DEFAULT_ENTRIES);
    let (from, to) = (page.from, page.to);
    answer(service.statement(StatementQuery { account_id, after, from, to, limit }).await)
}

async fn keys(State(service): Service, Segment(account): Segment<AccountId>) -> Answer {
    answer(service.keys(account).await)
}

async fn execute(
    State(service): Service,
    Segment(account): Segment<AccountId>,
    Body(command): Body<Command>,
) -> Answer {
    answer(service.execute(account, command).await)
}

async fn issue_key(
    State(service): Service,
    Segment(account): Segment<AccountId>,
    Body(command): Body<IssueKey>,
) -> Answer {
    same_account(account, command.account_id)?;
    answer(service.issue_key(command).await)
}

async fn grant_credit(
    State(service): Service,
    Segment(account): Segment<AccountId>,
    Body(command): Body<GrantCredit>,
) -> Answer {
    same_account(account, command.account_id)?;
    answer(service.grant_credit(command).await)
}

async fn lease(State(service): Service, Body(request): Body<LeaseRequest>) -> Answer {
    answer(service.lease(request).await)
}

async fn close_leases(State(service): Service, Body(close): Body<CloseLeases>) -> Answer {
    answer(service.close_leases(close).await)
}

async fn find_key(State(service): Service, Segment(hash): Segment<KeyHash>) -> Answer {
    answer(service.find_key(hash).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: u64,
    to: u64,
}

async fn amounts(
    State(service): Service,
    Segment(partition): Segment<PartitionId>,
    Parameters(range): Parameters<Range>,
) -> Answer {
    answer(service.amounts(partition, Offset(range.from), Offset(range.to)).await)
}

fn same_account(path: AccountId, body: AccountId) -> Result<(), Failure> {
    let differs = || Failure::invalid("account_id", format!("is {body} in the body, but {path} in the path"));
    (path == body).then_some(()).ok_or_else(differs)
}
