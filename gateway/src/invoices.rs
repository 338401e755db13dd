//! `GET /api/invoices` and `GET /api/invoices/{number}`: the caller's own invoices, as JSON or as a page to print.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemas::api::{Invoice, InvoiceHead, InvoiceQuery, InvoicesQuery, Refusal};
use serde::{Deserialize, Serialize};

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;
use crate::ports::LedgerError;
use crate::statement::{DEFAULT_LIMIT, refused};

/// Nothing is loaded by the page, and nothing in it runs.
const PAGE_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    after: Option<u64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
pub(crate) struct List {
    object: &'static str,
    data: Vec<InvoiceHead>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    parameters: Result<Query<ListParameters>, QueryRejection>,
) -> Result<Json<List>, ApiError> {
    let Query(ListParameters { after, limit }) = parameters.map_err(|rejection| {
        let known = "Known parameters: after (the `next` of the page before), limit";
        ApiError::invalid_request(None, format!("{}. {known}.", rejection.body_text()))
    })?;
    let query = InvoicesQuery { account_id: Some(caller.account.id()), after, limit: limit.unwrap_or(DEFAULT_LIMIT) };
    let page = app.ledger.invoices(query).await.map_err(|error| refused("list of invoices", error))?;
    Ok(Json(List { object: "list", data: page.invoices, next: page.next }))
}

/// How an invoice is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Html,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowParameters {
    format: Option<Format>,
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    number: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    parameters: Result<Query<ShowParameters>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(ShowParameters { format }) = parameters.map_err(|rejection| {
        ApiError::invalid_request(None, format!("{}. Known parameter: format (json, html).", rejection.body_text()))
    })?;
    let number = number.map(|Path(number)| number).unwrap_or_default();
    // What is no number is nobody's invoice either.
    let unknown = || ApiError::invoice_not_found(&number);
    let query = InvoiceQuery { number: number.parse().map_err(|_| unknown())?, account_id: Some(caller.account.id()) };
    let invoice = app.ledger.invoice(query).await.map_err(|error| match error {
        LedgerError::Refused(Refusal::UnknownInvoice { .. }) => unknown(),
        error => refused("invoice", error),
    })?;
    match format.unwrap_or_else(|| accepted(&headers)) {
        Format::Json => Ok(Json(invoice).into_response()),
        Format::Html => page(&invoice),
    }
}

/// HTML where it is asked for by name and JSON is not: a browser does that, and `*/*` does not.
fn accepted(headers: &HeaderMap) -> Format {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accept.flat_map(|value| value.split(',')).filter_map(|part| part.split(';').next()).map(str::trim);
    let asked = types.find(|of| ["text/html", "application/json"].iter().any(|known| of.eq_ignore_ascii_case(known)));
    if asked.is_some_and(|of| of.eq_ignore_ascii_case("text/html")) { Format::Html } else { Format::Json }
}

#[derive(Template)]
#[template(path = "invoice.html")]
struct Page<'a> {
    invoice: &'a Invoice,
}

fn page(invoice: &Invoice) -> Result<Response, ApiError> {
    let html = Page { invoice }.render().map_err(|error| {
        tracing::error!(%error, number = invoice.head.number, "an invoice could not be shown as a page");
        ApiError::internal()
    })?;
    Ok((PAGE_HEADERS, html).into_response())
}

#[cfg(test)]
mod tests {
    use schemas::api::{InvoiceItem, InvoiceLine};
    use schemas::usage::TokenCounts;
    use schemas::{AccountId, EventId, Offset, PartitionId, Position, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn html_is_for_who_asks_for_it() {
        let check = |accept: &[&str], expected: Format| {
            let value = |text: &&str| (header::ACCEPT, HeaderValue::from_str(text).unwrap());
            assert_eq!(accepted(&accept.iter().map(value).collect()), expected, "{accept:?}");
        };
        check(&[], Format::Json);
        check(&["*/*"], Format::Json);
        check(&["application/json"], Format::Json);
        check(&["text/html"], Format::Html);
        check(&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Format::Html);
        check(&["application/json, text/html"], Format::Json);
        check(&["image/png", "Text/HTML;q=0.8"], Format::Html);
    }

    #[test]
    fn a_page_shows_every_line_and_runs_none() {
        let usd = |text: &str| text.parse().unwrap();
        let time = Timestamp::from_micros(0);
        let usage = InvoiceItem::Usage {
            model: "<b>&\"'".into(),
            requests: 3,
            tokens: TokenCounts { prompt: 7, cached_prompt: 5, completion: 2, reasoning: 0 },
            plan_tokens: 1,
        };
        let credit = InvoiceItem::Credit { time, reason: "<script>alert(1)</script>".into() };
        let invoice = Invoice {
            head: InvoiceHead {
                number: 17,
                event_id: EventId(Uuid::from_u128(1)),
                account_id: AccountId(Uuid::from_u128(2)),
                month: "2026-10".parse().unwrap(),
                issued_at: time,
                after: None,
                through: Position { partition: PartitionId(0), offset: Offset(9) },
            },
            opening_usd: usd("0"),
            closing_usd: usd("4.999999999999"),
            lines: vec![
                InvoiceLine { amount_usd: usd("-0.000000000001"), item: usage },
                InvoiceLine { amount_usd: usd("5"), item: credit },
            ],
        };
        let html = Page { invoice: &invoice }.render().unwrap();
        for shown in ["Invoice 17", "2026-10", "-0.000000000001", "4.999999999999", "3 requests", "&#60;script&#62;"] {
            assert!(html.contains(shown), "{shown} is not in\n{html}");
        }
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
        assert_eq!(html.matches("<tr").count(), 1 + 2 + 2, "a heading, two lines, two balances: {html}");
    }
}
