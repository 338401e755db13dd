//! A client of the public API that keeps exact numbers and sees every byte.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A connection pool to one gateway, with one key.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) base: String,
    pub(crate) key: String,
    http: HyperClient<HttpConnector, Full<Bytes>>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// What a completion says of its own cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
    pub(crate) cost: Decimal,
}

#[derive(Deserialize)]
struct WithUsage<'a> {
    #[serde(borrow)]
    usage: Option<Usage<'a>>,
}

#[derive(Deserialize)]
struct Usage<'a> {
    prompt_tokens: u64,
    completion_tokens: u64,
    #[serde(borrow)]
    cost_usd: &'a RawValue,
}

impl Client {
    /// `address` is `host:port`.
    pub(crate) fn new(address: &str, key: &str) -> Self {
        Self {
            base: format!("http://{address}"),
            key: key.to_owned(),
            http: HyperClient::builder(TokioExecutor::new()).build_http(),
        }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        self.try_send(method, path, body).await.expect("an answer")
    }

    /// `None` where the connection broke.
    pub(crate) async fn try_send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Option<Answer> {
        self.try_send_with(method, path, &[], body).await
    }

    /// A completion under this `Idempotency-Key`; `None` where the connection broke.
    pub(crate) async fn try_once(&self, idempotency_key: &str, body: impl Into<Bytes>) -> Option<Answer> {
        let headers = [("idempotency-key", idempotency_key)];
        self.try_send_with(Method::POST, "/v1/chat/completions", &headers, body).await
    }

    /// As `try_send`, with these headers beside the usual ones.
    pub(crate) async fn try_send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = self.http.request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("UTF-8");
        Some(Answer { status: parts.status, headers: parts.headers, body })
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// A completion that must succeed. Streams must ask for usage.
    pub(crate) async fn complete(&self, request: &Value) -> Charge {
        let answer = self.send(Method::POST, "/v1/chat/completions", request.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.charge()
    }
}

impl Answer {
    /// The charge of a completion, from its body or from the last chunk of its stream.
    pub(crate) fn charge(&self) -> Charge {
        let text = match self.body.strip_suffix("data: [DONE]\n\n") {
            None => self.body.as_str(),
            Some(events) => events.trim_end().rsplit("data: ").next().expect("a chunk"),
        };
        let usage = serde_json::from_str::<WithUsage<'_>>(text).expect("JSON").usage.expect("usage");
        let cost = Decimal::from_str_exact(usage.cost_usd.get()).expect("an exact decimal");
        Charge { prompt: usage.prompt_tokens, completion: usage.completion_tokens, cost }
    }

    /// A header of the answer that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", self.headers)).to_str().expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}
