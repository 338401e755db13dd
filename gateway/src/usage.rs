//! `GET /api/usage` and `GET /api/balance`: what the caller's own account used, and what it has left.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use schemas::api::{Balance, Bucket, GroupBy, UsageQuery, UsageRow};
use schemas::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::accounts::Caller;
use crate::app::App;
use crate::error::ApiError;
use crate::ports::LedgerError;

/// The account is never a parameter: it is the key's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    #[serde(default)]
    from: Option<Timestamp>,
    #[serde(default)]
    to: Option<Timestamp>,
    #[serde(default)]
    group_by: GroupBy,
    #[serde(default)]
    bucket: Bucket,
}

#[derive(Serialize)]
pub(crate) struct Usage {
    object: &'static str,
    account_id: AccountId,
    data: Vec<UsageRow>,
}

pub(crate) async fn usage(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Usage>, ApiError> {
    let Query(parameters) = parameters.map_err(|rejection| {
        let detail = rejection.body_text();
        ApiError::invalid_request(
            None,
            format!(
                "{detail}. Known parameters: from and to (RFC 3339 times), group_by (none, model, key), bucket (none, \
                 hour, day)."
            ),
        )
    })?;
    let account_id = caller.account.id();
    let query = UsageQuery {
        account_id,
        from: parameters.from,
        to: parameters.to,
        group_by: parameters.group_by,
        bucket: parameters.bucket,
    };
    let data = app.stats.usage(&query).await.map_err(|error| {
        tracing::warn!(%error, "usage could not be read");
        ApiError::unavailable("Usage statistics are not available just now. Try again.")
    })?;
    Ok(Json(Usage { object: "list", account_id, data }))
}

pub(crate) async fn balance(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Balance>, ApiError> {
    match app.ledger.balance(caller.account.id()).await {
        Ok(balance) => Ok(Json(balance)),
        Err(LedgerError::Refused(refusal)) => Err(ApiError::invalid_request(None, refusal.to_string())),
        Err(LedgerError::Unavailable(detail)) => {
            tracing::warn!(detail, "a balance could not be read");
            Err(ApiError::unavailable("The balance is not available just now. Try again."))
        }
    }
}
