//! Invoices on the private port.

use axum::extract::State;
use schemas::AccountId;
use schemas::api::{InvoiceQuery, InvoicesQuery, IssueInvoices};
use serde::Deserialize;

use super::answer::{Answer, Body, Parameters, Segment, answer};
use super::{DEFAULT_ENTRIES, Service};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    account_id: Option<AccountId>,
    after: Option<u64>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    account_id: Option<AccountId>,
}

pub(super) async fn list(State(service): Service, Parameters(page): Parameters<Page>) -> Answer {
    let Page { account_id, after, limit } = page;
    answer(service.invoices(InvoicesQuery { account_id, after, limit: limit.unwrap_or(DEFAULT_ENTRIES) }).await)
}

pub(super) async fn show(
    State(service): Service,
    Segment(number): Segment<u64>,
    Parameters(Whose { account_id }): Parameters<Whose>,
) -> Answer {
    answer(service.invoice(InvoiceQuery { number, account_id }).await)
}

pub(super) async fn issue(State(service): Service, Body(command): Body<IssueInvoices>) -> Answer {
    answer(service.issue_invoices(command).await)
}
