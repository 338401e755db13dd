//! What goes in and out: every answer is JSON, whatever went wrong.

use std::str::FromStr;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use schemas::api::Refusal;
use schemas::event::KeyHash;
use schemas::{AccountId, PartitionId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::error;

use crate::LedgerError;

pub(super) type Answer = Result<Response, Failure>;

pub(super) fn answer(result: Result<impl Serialize, LedgerError>) -> Answer {
    Ok(Json(result?).into_response())
}

/// Why a request has no answer.
pub(super) enum Failure {
    Refused(Refusal),
    Unauthorized,
    NoRoute,
    Unavailable { code: &'static str, message: String },
}

impl Failure {
    pub(super) fn invalid(field: &str, detail: String) -> Self {
        Self::Refused(Refusal::Invalid { field: field.into(), detail })
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let message = error.to_string();
        match error {
            LedgerError::Refused(refusal) => Self::Refused(refusal),
            LedgerError::NotYetApplied { .. } => Self::Unavailable { code: "not_yet_applied", message },
            LedgerError::AheadOfTheLog { .. }
            | LedgerError::AnotherLog { .. }
            | LedgerError::OtherPartitions { .. }
            | LedgerError::Unavailable(_) => Self::Unavailable { code: "unavailable", message },
        }
    }
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::Refused(refusal) => {
                let status = match refusal {
                    Refusal::UnknownAccount { .. } | Refusal::UnknownInvoice { .. } | Refusal::UnknownLease { .. } => {
                        StatusCode::NOT_FOUND
                    }
                    Refusal::EmailTaken { .. } | Refusal::StaleLease { .. } | Refusal::RunIsOver { .. } => {
                        StatusCode::CONFLICT
                    }
                    Refusal::CreditTooLow { .. } | Refusal::CreditReserved { .. } => StatusCode::PAYMENT_REQUIRED,
                    Refusal::UnknownPlan { .. } | Refusal::KeyLimit { .. } | Refusal::Invalid { .. } => {
                        StatusCode::UNPROCESSABLE_ENTITY
                    }
                };
                return (status, Json(refusal)).into_response();
            }
            Self::Unauthorized => {
                let message = "send `Authorization: Bearer` with the secret of `ledger.secret`".into();
                (StatusCode::UNAUTHORIZED, "unauthorized", message)
            }
            Self::NoRoute => {
                let message = "no such route; is `ledger.url` the private port of a ledger of this version?".into();
                (StatusCode::NOT_FOUND, "no_route", message)
            }
            Self::Unavailable { code, message } => {
                error!(code, message, "could not answer");
                (StatusCode::SERVICE_UNAVAILABLE, code, message)
            }
        };
        (status, Json(Problem { code, message })).into_response()
    }
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let refused = |rejection: JsonRejection| Failure::invalid("body", rejection.body_text());
        Json::from_request(request, state).await.map(|Json(body)| Self(body)).map_err(refused)
    }
}

/// The query's parameters.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(values)| Self(values)).map_err(|rejection| Failure::invalid("query", rejection.body_text()))
    }
}

/// The one variable segment of a path.
pub(super) struct Segment<T>(pub(super) T);

/// What a path's segment may be, and what its refusal is.
pub(super) trait Named: FromStr {
    fn refusal(text: String) -> Refusal;
}

impl Named for AccountId {
    fn refusal(text: String) -> Refusal {
        Refusal::UnknownAccount { account: text }
    }
}

impl Named for KeyHash {
    fn refusal(_: String) -> Refusal {
        Refusal::Invalid { field: "hash".into(), detail: "a key hash is 64 hexadecimal digits".into() }
    }
}

impl Named for PartitionId {
    fn refusal(text: String) -> Refusal {
        Refusal::Invalid { field: "partition".into(), detail: format!("`{text}` is not a partition's number") }
    }
}

/// An invoice's number.
impl Named for u64 {
    fn refusal(text: String) -> Refusal {
        Refusal::Invalid { field: "number".into(), detail: format!("`{text}` is not an invoice's number, such as 17") }
    }
}

impl<S: Send + Sync, T: Named> FromRequestParts<S> for Segment<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(text): Path<String> = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Failure::invalid("path", rejection.body_text()))?;
        text.parse().map(Self).map_err(|_| Failure::Refused(T::refusal(text)))
    }
}
