//! `modelhub.toml`, as types. Every key can also be set by environment: `MODELHUB_LISTEN`, `MODELHUB_KAFKA__BROKERS`.

use std::path::PathBuf;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::Usd;
use crate::catalogue::{Model, PlanTerms};

/// The whole configuration. An unknown key is an error that names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the public API listens.
    pub listen: String,
    /// The folder of the embedded stores and of this machine's secrets.
    pub data_dir: PathBuf,
    /// OpenAI-compatible servers; without any, the built-in demo upstream answers.
    pub upstreams: Vec<Upstream>,
    /// Models on sale; without any, the built-in ones on the demo upstream.
    pub models: Vec<Model>,
    /// Terms that replace those of the built-in plan of the same id, key by key, or a new plan.
    pub plans: Vec<PlanOverride>,
    /// Requests that an account which has ever paid may make in a minute, where its plan allows fewer.
    pub paid_requests_per_minute: u32,
    /// The log, in distributed mode.
    pub kafka: Option<Kafka>,
    /// The ledger's store, in distributed mode.
    pub postgres: Option<Postgres>,
    /// The usage store, in distributed mode.
    pub clickhouse: Option<ClickHouse>,
    /// The private port between gateways and the ledger, in distributed mode.
    pub ledger: LedgerPort,
    /// The projector's port for health checks, in distributed mode.
    pub projector: ProjectorPort,
    /// Monthly invoices.
    pub invoices: Invoices,
    /// Where a gateway keeps usage until the log has it, in distributed mode.
    pub spool: Spool,
    /// Answers kept for whoever repeats a request under the same `Idempotency-Key`.
    pub idempotency: Idempotency,
    /// What gateways may spend by themselves.
    pub leases: Leases,
    /// What Prometheus is told.
    pub metrics: Metrics,
    /// The secret under which API keys are hashed; embedded mode makes its own in the data folder.
    pub key_pepper: Option<Secret>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            data_dir: "data".into(),
            upstreams: Vec::new(),
            models: Vec::new(),
            plans: Vec::new(),
            paid_requests_per_minute: 100,
            kafka: None,
            postgres: None,
            clickhouse: None,
            ledger: LedgerPort::default(),
            projector: ProjectorPort::default(),
            invoices: Invoices::default(),
            spool: Spool::default(),
            idempotency: Idempotency::default(),
            leases: Leases::default(),
            metrics: Metrics::default(),
            key_pepper: None,
        }
    }
}

/// What Prometheus is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Where `/metrics` is answered, by each service for itself; nowhere where absent. Without a key: business figures are
    /// no business of whoever reaches the public address, so this is another one, in a private network.
    pub listen: Option<String>,
}

/// What gateways may spend by themselves.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leases {
    /// For how long a gateway that can't reach a ledger goes on admitting requests, in milliseconds.
    pub ttl_ms: u32,
}

impl Default for Leases {
    fn default() -> Self {
        Self { ttl_ms: 10_000 }
    }
}

/// Monthly invoices.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Invoices {
    /// Whether a ledger issues each month's invoices by itself when the month is over.
    pub automatic: bool,
}

impl Default for Invoices {
    fn default() -> Self {
        Self { automatic: true }
    }
}

/// An OpenAI-compatible server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// What models call it.
    pub name: String,
    /// Where its API is, up to and including the version: `https://api.example.com/v1`.
    pub base_url: String,
    /// The environment variable that holds its key; no `Authorization` is sent where absent.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// To a connection, in milliseconds.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// From the request to the first byte of the answer, in milliseconds.
    #[serde(default = "default_first_token_timeout_ms")]
    pub first_token_timeout_ms: u64,
    /// Between two chunks of the answer, in milliseconds.
    #[serde(default = "default_idle_timeout_ms")]
    pub idle_timeout_ms: u64,
    /// Between two pieces of content, in milliseconds, whatever comes in between to keep the connection alive.
    #[serde(default = "default_content_timeout_ms")]
    pub content_timeout_ms: u64,
}

fn default_connect_timeout_ms() -> u64 {
    2_000
}

fn default_first_token_timeout_ms() -> u64 {
    60_000
}

fn default_idle_timeout_ms() -> u64 {
    30_000
}

fn default_content_timeout_ms() -> u64 {
    300_000
}

/// A plan, or what it changes of the built-in plan of the same id.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the same keys as PlanTerms, where each is described")]
pub struct PlanOverride {
    pub id: String,
    pub price_usd: Option<Usd>,
    pub tokens_per_month: Option<u64>,
    pub rollover_tokens: Option<u64>,
    pub requests_per_minute: Option<u32>,
    pub max_in_flight: Option<u32>,
    pub max_keys: Option<u32>,
    pub trial_credit_usd: Option<Usd>,
}

impl PlanOverride {
    /// The terms with this override on top; `None` where a new plan leaves a term open.
    pub fn on(self, base: Option<&PlanTerms>) -> Option<PlanTerms> {
        Some(PlanTerms {
            price_usd: self.price_usd.or(base.map(|b| b.price_usd))?,
            tokens_per_month: self.tokens_per_month.or(base.map(|b| b.tokens_per_month))?,
            rollover_tokens: self.rollover_tokens.or(base.map(|b| b.rollover_tokens))?,
            requests_per_minute: self.requests_per_minute.or(base.map(|b| b.requests_per_minute))?,
            max_in_flight: self.max_in_flight.or(base.map(|b| b.max_in_flight))?,
            max_keys: self.max_keys.or(base.and_then(|b| b.max_keys)),
            trial_credit_usd: self.trial_credit_usd.or(base.map(|b| b.trial_credit_usd))?,
            id: self.id,
        })
    }
}

/// Apache Kafka.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// The topic; created where it does not exist.
    #[serde(default = "default_topic")]
    pub topic: String,
    /// Partitions of the topic when it is created; fixed from then on.
    #[serde(default = "default_partitions")]
    pub partitions: u32,
    /// Copies of each partition when the topic is created.
    #[serde(default = "default_replication")]
    pub replication: u32,
    /// How long a ledger or projector that is not heard of keeps its partitions before others take them over, in
    /// milliseconds. Brokers refuse less than their `group.min.session.timeout.ms`, which is 6,000 by default.
    #[serde(default = "default_session_timeout_ms")]
    pub session_timeout_ms: u32,
}

fn default_topic() -> String {
    "modelhub.events".into()
}

fn default_partitions() -> u32 {
    12
}

fn default_replication() -> u32 {
    1
}

fn default_session_timeout_ms() -> u32 {
    10_000
}

/// PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`
    pub url: Secret,
}

/// `ClickHouse`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClickHouse {
    /// `http://host:port`
    pub url: String,
    /// Created where it does not exist.
    #[serde(default = "default_database")]
    pub database: String,
    /// User; the server's default where absent.
    #[serde(default)]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default)]
    pub password: Option<Secret>,
}

fn default_database() -> String {
    "modelhub".into()
}

/// The private port between gateways and the ledger.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerPort {
    /// Where a ledger listens for gateways and the command line.
    pub listen: String,
    /// Where a gateway and the command line find a ledger: `http://host:port`.
    pub url: Option<String>,
    /// What both sides know.
    pub secret: Option<Secret>,
}

impl Default for LedgerPort {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8090".into(), url: None, secret: None }
    }
}

/// The projector's port for health checks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectorPort {
    /// Where it listens.
    pub listen: String,
}

impl Default for ProjectorPort {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8091".into() }
    }
}

/// Where a gateway keeps usage until the log has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Its folder, this gateway's own; `spool` in the data folder where absent.
    pub dir: Option<PathBuf>,
    /// The most bytes it takes on disk; a usage event has about a kilobyte.
    pub max_bytes: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self { dir: None, max_bytes: 256 << 20 }
    }
}

/// Answers kept for whoever repeats a request under the same `Idempotency-Key`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Idempotency {
    /// The largest answer that is kept, in bytes. A larger one is charged once all the same, and a repeat says so.
    pub max_answer_bytes: usize,
    /// How long a repeat waits for the first request's answer, in milliseconds.
    pub wait_ms: u64,
    /// How long after a gateway was last heard of, in milliseconds, another one may take over what it was answering.
    pub hold_ms: u32,
}

impl Idempotency {
    /// The most that `max_answer_bytes` may be: what the ledger's private port takes.
    pub const MAX_ANSWER_BYTES: usize = 16 << 20;
}

impl Default for Idempotency {
    fn default() -> Self {
        Self { max_answer_bytes: 1 << 20, wait_ms: 30_000, hold_ms: 30_000 }
    }
}

/// A secret of the configuration. Its `Debug` hides it, and so does the error where it is not a text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretText)
    }
}

/// Takes texts; what serde says of anything else would quote it.
struct SecretText;

impl Visitor<'_> for SecretText {
    type Value = Secret;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a secret, in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom(NOT_QUOTED))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom(NOT_QUOTED))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Secret, E> {
        Err(E::custom(NOT_QUOTED))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Err(E::custom(NOT_QUOTED))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Secret, E> {
        Err(E::custom(NOT_QUOTED))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom(NOT_QUOTED))
    }
}

const NOT_QUOTED: &str = "a secret is a text: put it in quotes";

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A URL as it may be shown: without user, password and query.
pub fn without_credentials(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // A password that nobody encoded may hold any of `/?#`, so all before the last `@` goes first.
    let (credentials, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("…@", rest));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?…"));
    format!("{scheme}{credentials}{rest}{query}")
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_credentials() {
        let check = |url: &str, expected: &str| assert_eq!(without_credentials(url), expected);
        check("http://127.0.0.1:8123", "http://127.0.0.1:8123");
        check("http://ann:hunter2@db:8123/x", "http://…@db:8123/x");
        check("https://ann:hun/t?er2@db", "https://…@db");
        check("ann:hunter2@db", "…@db");
        check("http://db/?user=ann&password=hunter2", "http://db/?…");
        check("", "");
    }
}
