//! Errors as clients see them: always `{"error":{"message","type","param","code"}}`, so that every SDK can show them.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// What OpenAI's SDKs ask before they try again by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// On an answer that is an error: its code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorCode(pub(crate) &'static str);

/// An answer that is an error. As JSON it is the error object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ApiError {
    /// HTTP status.
    #[serde(skip)]
    pub(crate) status: StatusCode,
    /// `error.message`: the thing, the value and the remedy.
    pub(crate) message: String,
    /// `error.type`: the family.
    pub(crate) r#type: &'static str,
    /// `error.param`: the request's field, where one is at fault.
    pub(crate) param: Option<&'static str>,
    /// `error.code`: precise and stable.
    pub(crate) code: &'static str,
    /// Seconds to wait before trying again, where waiting helps.
    #[serde(skip)]
    pub(crate) retry_after_seconds: Option<u64>,
    /// Whether SDKs that would try again by the status are told not to.
    #[serde(skip)]
    pub(crate) final_answer: bool,
}

impl ApiError {
    fn new(status: StatusCode, r#type: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            r#type,
            code,
            param: None,
            message: message.into(),
            retry_after_seconds: None,
            final_answer: false,
        }
    }

    /// 400: the request makes no sense.
    pub(crate) fn invalid_request(param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { param, ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_request", message) }
    }

    /// 401: no key, a mistyped key or an unknown one.
    pub(crate) fn invalid_api_key(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key", message)
    }

    /// 402: the balance does not pay for even one output token.
    pub(crate) fn insufficient_balance(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "insufficient_balance_error", "insufficient_balance", message)
    }

    /// 403: the account is suspended or closed.
    pub(crate) fn account_suspended(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", "account_suspended", message)
    }

    /// 403: the key may not do this, or has used what it may.
    pub(crate) fn key_limit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", "key_limit", message)
    }

    /// 429: more requests than the plan allows, in a minute or at once.
    pub(crate) fn rate_limited(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limited", message)
        }
    }

    /// 409: the `Idempotency-Key` was used with another body.
    pub(crate) fn idempotency_key_reused() -> Self {
        let message = "This Idempotency-Key was used with another request body. Send the same body to get its answer, or a \
                       new key for a new request.";
        Self { final_answer: true, ..Self::conflict("idempotency_key_reused", message) }
    }

    /// 409: the first request under the `Idempotency-Key` still runs.
    pub(crate) fn idempotency_in_progress() -> Self {
        let message =
            "The first request under this Idempotency-Key is still being answered. Try again with the same key.";
        Self { retry_after_seconds: Some(1), ..Self::conflict("idempotency_in_progress", message) }
    }

    /// 409: the first request under the `Idempotency-Key` was charged, and its answer is not there.
    pub(crate) fn answer_not_kept() -> Self {
        let message = "The first request under this Idempotency-Key was answered and charged, but its answer is too large to \
                       be kept for a repeat. This repeat is not charged. Send a new key to have it answered, and charged, \
                       again.";
        Self { final_answer: true, ..Self::conflict("idempotency_answer_not_kept", message) }
    }

    fn conflict(code: &'static str, message: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "idempotency_error", code, message)
    }

    /// 404: no such model.
    pub(crate) fn model_not_found(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist. GET /v1/models lists those that do.");
        Self {
            param: Some("model"),
            ..Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "model_not_found", message)
        }
    }

    /// 404: no such invoice, or it is another account's, which is the same to who asks.
    pub(crate) fn invoice_not_found(number: &str) -> Self {
        let message = format!("There is no invoice `{number}`. GET /api/invoices lists yours.");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "invoice_not_found", message)
    }

    /// 404: no such route.
    pub(crate) fn route_not_found(method: &http::Method, path: &str) -> Self {
        let message = format!("There is no {method} {path}. The base URL ends in /v1; see the API reference.");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "not_found", message)
    }

    /// 405: the route exists with another method.
    pub(crate) fn method_not_allowed(method: &http::Method, path: &str) -> Self {
        let message = format!("{path} does not take {method}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", "method_not_allowed", message)
    }

    /// 413: the body is larger than the gateway takes.
    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        let message = format!("The request body is larger than {limit_bytes} bytes. Send less.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "request_too_large", message)
    }

    /// 408: the body did not arrive in time.
    pub(crate) fn body_timeout() -> Self {
        let message = "The request body did not arrive in time. Send it again.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", "request_timeout", message)
    }

    /// 502: the upstream failed or answered nonsense.
    pub(crate) fn upstream_failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "upstream_error", "upstream_error", message)
    }

    /// 504: the upstream did not answer in time.
    pub(crate) fn upstream_timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream_error", "upstream_timeout", message)
    }

    /// 503: something that this answer needs is not available; trying again later helps.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "api_error", "service_unavailable", message)
        }
    }

    /// 503: usage can't be recorded, so nothing may be used.
    pub(crate) fn not_recordable(code: &'static str, message: impl Into<String>) -> Self {
        Self { retry_after_seconds: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "api_error", code, message) }
    }

    /// 503: the upstream has more work than it takes.
    pub(crate) fn upstream_busy(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self {
            retry_after_seconds: Some(retry_after_seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_error", "upstream_error", message)
        }
    }

    /// 500: a fault of ours.
    pub(crate) fn internal() -> Self {
        let message = "The server failed. Try again, and tell support the x-request-id if it persists.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "api_error", "internal_error", message)
    }

    /// The error object as an answer's JSON.
    pub(crate) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a ApiError,
        }
        serde_json::to_string(&Body { error: self }).unwrap_or_default()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = (self.status, [(header::CONTENT_TYPE, json)], self.to_json()).into_response();
        response.extensions_mut().insert(ErrorCode(self.code));
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.final_answer {
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_object_has_the_four_fields_that_sdks_read() {
        let check = |error: ApiError, status: u16, json: &str| {
            assert_eq!((error.status.as_u16(), error.to_json().as_str()), (status, json));
        };
        check(
            ApiError::model_not_found("gpt\"x"),
            404,
            r#"{"error":{"message":"The model `gpt\"x` does not exist. GET /v1/models lists those that do.","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
        );
        check(
            ApiError::insufficient_balance("m"),
            402,
            r#"{"error":{"message":"m","type":"insufficient_balance_error","param":null,"code":"insufficient_balance"}}"#,
        );
    }

    #[test]
    fn waiting_is_suggested_only_where_it_helps() {
        let retry = |error: ApiError| error.into_response().headers().get("retry-after").cloned();
        assert_eq!(retry(ApiError::unavailable("x")).unwrap(), "1");
        assert_eq!(retry(ApiError::insufficient_balance("x")), None);
    }
}
