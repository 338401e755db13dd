//! `GET /api/statement`: every posting of the caller's own account, with the running balance.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use schemas::api::{Statement, StatementQuery};
use schemas::{Offset, Timestamp};
use serde::Deserialize;

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;
use crate::ports::LedgerError;

/// Entries of a page where no limit is said.
pub(crate) const DEFAULT_LIMIT: u32 = 100;

/// The account is never a parameter: it is the key's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    after: Option<u64>,
    limit: Option<u32>,
}

pub(crate) async fn statement(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Statement>, ApiError> {
    let Query(Parameters { from, to, after, limit }) = parameters.map_err(|rejection| {
        let known = "Known parameters: from and to (RFC 3339 times), after (the `next` of the page before), limit";
        ApiError::invalid_request(None, format!("{}. {known}.", rejection.body_text()))
    })?;
    let account_id = caller.account.id();
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let query = StatementQuery { account_id, after: after.map(Offset), from, to, limit };
    app.ledger.statement(query).await.map(Json).map_err(|error| refused("statement", error))
}

/// Why a question to the ledger has no answer.
pub(crate) fn refused(what: &'static str, error: LedgerError) -> ApiError {
    match error {
        LedgerError::Refused(refusal) => ApiError::invalid_request(None, refusal.to_string()),
        LedgerError::Unavailable(detail) => {
            tracing::warn!(detail, what, "the ledger could not be asked");
            ApiError::unavailable(format!("The {what} is not available just now. Try again."))
        }
    }
}
