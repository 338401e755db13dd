//! OpenAI-compatible servers that answer, and how one is called.

mod sent;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use schemas::config::{Secret, Upstream as UpstreamConfig};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::sent::Sent;
use self::sent::Watched;
use crate::tally::Tally;

/// The most bytes of an error answer that are read.
const MAX_ERROR_BYTES: usize = 1 << 20;

/// How a call can end, up to its first token.
pub(crate) const ATTEMPT_ENDS: [&str; 8] =
    ["answered", "unreachable", "timeout", "busy", "refused", "failed", "no_answer", "broken"];

/// Upstreams by name.
pub type Upstreams = BTreeMap<String, Arc<Upstream>>;

/// One upstream, with its pool of connections.
pub struct Upstream {
    name: String,
    completions: Uri,
    authorization: Option<HeaderValue>,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    content_timeout: Duration,
    client: Client<HttpsConnector<HttpConnector>, Watched>,
    /// Calls, by how they ended.
    attempts: Tally<{ ATTEMPT_ENDS.len() }>,
}

/// An upstream's configuration makes no sense.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// The address is not an absolute http or https URL.
    #[error(
        "upstream `{name}`: base_url `{base_url}` is not an http:// or https:// URL, such as https://api.example.com/v1"
    )]
    BadUrl {
        /// Which upstream.
        name: String,
        /// As configured.
        base_url: String,
    },
    /// The key can't be sent in a header.
    #[error("upstream `{name}`: its key has characters that no HTTP header can carry")]
    BadKey {
        /// Which upstream.
        name: String,
    },
}

/// How a call to an upstream failed before the client saw anything of an answer.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// No connection, or it broke before the answer's head.
    #[error("could not be reached: {detail}")]
    Unreachable {
        /// What the network said.
        detail: String,
        /// Whether there was a connection: then it may have got the request.
        connected: bool,
    },
    /// No token in time.
    #[error("did not answer within {0:?}")]
    Timeout(Duration),
    /// It answered with another status than 2xx.
    #[error("answered {status}")]
    Status {
        /// Its status.
        status: StatusCode,
        /// Its `Retry-After`, in seconds.
        retry_after_seconds: Option<u64>,
        /// Its body, as far as it was read.
        body: Bytes,
    },
    /// It answered 2xx, and then something that is no answer.
    #[error("{0}")]
    NoAnswer(String),
    /// The connection broke after the answer's head.
    #[error("broke off its answer: {detail}")]
    Broken {
        /// What the network said.
        detail: String,
        /// Whether some of the answer had come.
        begun: bool,
    },
    /// A whole answer stopped in its middle.
    #[error("sent nothing for {0:?} in the middle of its answer")]
    Stalled(Duration),
}

impl CallError {
    /// Whether another upstream may do better. Not where the request itself is at fault, and not where the answer had
    /// begun: it would be paid for twice.
    pub(crate) fn may_pass_elsewhere(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout(_) | Self::NoAnswer(_) => true,
            Self::Broken { begun, .. } => !begun,
            Self::Stalled(_) => false,
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 401 | 402 | 403 | 408 | 429)
            }
        }
    }
}

/// How an answer broke off.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// The connection broke.
    #[error("broke off: {0}")]
    Broken(String),
    /// The first token did not come in time.
    #[error("did not answer within {0:?}")]
    Late(Duration),
    /// Nothing came for too long.
    #[error("sent nothing for {0:?}")]
    Idle(Duration),
    /// What came for too long only kept the connection alive.
    #[error("sent no content for {0:?}")]
    Silent(Duration),
}

impl Upstream {
    /// Prepares calls to an upstream. `key` is what `api_key_env` names.
    pub fn new(config: &UpstreamConfig, key: Option<&Secret>) -> Result<Self, UpstreamError> {
        let bad_url = || UpstreamError::BadUrl { name: config.name.clone(), base_url: config.base_url.clone() };
        let completions: Uri =
            format!("{}/chat/completions", config.base_url.trim_end_matches('/')).parse().map_err(|_| bad_url())?;
        if !matches!(completions.scheme_str(), Some("http" | "https")) || completions.authority().is_none() {
            return Err(bad_url());
        }
        let authorization = match key {
            Some(key) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
                    .map_err(|_| UpstreamError::BadKey { name: config.name.clone() })?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(Duration::from_millis(config.connect_timeout_ms)));
        http.set_nodelay(true);
        http.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self {
            name: config.name.clone(),
            completions,
            authorization,
            first_token_timeout: Duration::from_millis(config.first_token_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            content_timeout: Duration::from_millis(config.content_timeout_ms),
            client,
            attempts: Tally::default(),
        })
    }

    /// Its name in the configuration.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Calls, by how they ended.
    pub(crate) fn attempts(&self) -> &Tally<{ ATTEMPT_ENDS.len() }> {
        &self.attempts
    }

    /// Counts a call by its end.
    pub(crate) fn count<T>(&self, end: &Result<T, CallError>) {
        self.attempts.count(match end {
            Ok(_) => 0,
            Err(CallError::Unreachable { .. }) => 1,
            Err(CallError::Timeout(_)) => 2,
            Err(CallError::Status { status: StatusCode::TOO_MANY_REQUESTS, .. }) => 3,
            Err(CallError::Status { status, .. }) if status.is_server_error() => 5,
            Err(CallError::Status { .. }) => 4,
            Err(CallError::NoAnswer(_)) => 6,
            Err(CallError::Broken { .. } | CallError::Stalled(_)) => 7,
        });
    }

    /// How long it may take to its first token.
    pub(crate) fn first_token_timeout(&self) -> Duration {
        self.first_token_timeout
    }

    /// Sends a completion request and waits for the head of the answer, `by` that time at the latest. Nothing of the client's own headers is sent:
    /// neither its key nor its cookies are an upstream's business.
    pub(crate) async fn complete(&self, body: Bytes, sent: &Sent, by: Instant) -> Result<UpstreamAnswer, CallError> {
        let mut request = Request::post(self.completions.clone()).header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(sent.watch(body))
            .map_err(|error| CallError::Unreachable { detail: error.to_string(), connected: false })?;
        let first_token_by = by.min(Instant::now() + self.first_token_timeout);
        let response = match timeout_at(first_token_by, self.client.request(request)).await {
            Err(_) => return Err(CallError::Timeout(self.first_token_timeout)),
            Ok(Err(error)) => {
                let connected = !error.is_connect();
                return Err(CallError::Unreachable { detail: chain(&error), connected });
            }
            Ok(Ok(response)) => response,
        };
        if !response.status().is_success() {
            return Err(refusal(response, first_token_by).await);
        }
        Ok(UpstreamAnswer {
            response,
            first_token_by: Some(first_token_by),
            first_token_timeout: self.first_token_timeout,
            idle_timeout: self.idle_timeout,
            content_timeout: self.content_timeout,
            content_at: Instant::now(),
        })
    }
}

async fn refusal(response: Response<Incoming>, by: Instant) -> CallError {
    let status = response.status();
    let retry_after_seconds =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let read = Limited::new(response.into_body(), MAX_ERROR_BYTES).collect();
    let body = match timeout_at(by, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    CallError::Status { status, retry_after_seconds, body }
}

/// The answer of an upstream, as it comes. Dropping it closes the connection: the upstream stops working.
pub(crate) struct UpstreamAnswer {
    response: Response<Incoming>,
    /// When the first token must be here; `None` once it is.
    first_token_by: Option<Instant>,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    content_timeout: Duration,
    /// When it last said something.
    content_at: Instant,
}

impl UpstreamAnswer {
    pub(crate) fn content_type(&self) -> Option<HeaderValue> {
        self.response.headers().get(header::CONTENT_TYPE).cloned()
    }

    /// The first token is here: from now on each piece has its own time. Bytes that only keep a connection alive are none.
    pub(crate) fn has_begun(&mut self) {
        self.first_token_by = None;
        self.has_content();
    }

    /// It said something: until it does again, it has its time for that anew.
    pub(crate) fn has_content(&mut self) {
        self.content_at = Instant::now();
    }

    /// Nobody listened to it for so long: that is none of its silence.
    pub(crate) fn client_took(&mut self, time: Duration) {
        self.content_at += time;
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            let (now, content_by) = (Instant::now(), self.content_at + self.content_timeout);
            // Also where there is always something to read.
            if self.first_token_by.is_none() && content_by <= now {
                return Err(ReadError::Silent(self.content_timeout));
            }
            let idle_by = now + self.idle_timeout;
            let by = self.first_token_by.unwrap_or_else(|| idle_by.min(content_by));
            match timeout_at(by, self.response.body_mut().frame()).await {
                Err(_) if self.first_token_by.is_some() => return Err(ReadError::Late(self.first_token_timeout)),
                Err(_) if content_by < idle_by => return Err(ReadError::Silent(self.content_timeout)),
                Err(_) => return Err(ReadError::Idle(self.idle_timeout)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(ReadError::Broken(chain(&error))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// An error with its causes: hyper's own text alone rarely says what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
