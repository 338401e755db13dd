//! What an operator sees of a gateway, in Prometheus' terms. Counting costs a request a few atomic additions: every series of
//! the hot path is made at the start, for what the catalogue has. No label has a value that a client chooses.
//!
//! These numbers are not the books. Prometheus keeps floating-point samples, and a process that dies forgets its own; money
//! is what the ledger says.

mod model;

use std::sync::Arc;

use prometheus::{
    Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry,
    register_histogram_vec_with_registry, register_histogram_with_registry, register_int_counter_vec_with_registry,
    register_int_counter_with_registry, register_int_gauge_with_registry,
};
use schemas::Usd;
use schemas::catalogue::Catalogue;
use tokio::time::Instant;

use self::model::{Models, OfModel};
use crate::accounts::{Accounts, MESSAGE_ENDS};
use crate::meter::Ending;
use crate::timing::Timing;
use crate::upstream::{ATTEMPT_ENDS, Upstreams};

/// Bounds of the gateway's own time, in seconds.
const ADDED: [f64; 13] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Bounds of what a client waits for, in seconds.
const WAITED: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 240.0];

/// A gateway's metrics.
pub(crate) struct Metrics {
    models: Models,
    errors: IntCounterVec,
    not_durable: IntCounter,
    in_flight: IntGauge,
    whole: [Histogram; 2],
    first_token: Histogram,
    added: Histogram,
    attempts: IntCounterVec,
    lease_messages: IntCounterVec,
    leases: IntGauge,
}

/// A request that ended, as it is counted.
pub(crate) struct Ended<'a> {
    pub(crate) model: &'a str,
    pub(crate) stream: bool,
    pub(crate) ending: Ending,
    pub(crate) list_usd: Usd,
    pub(crate) credit_usd: Usd,
}

/// A request that runs, until this is dropped.
pub(crate) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// # Errors
    /// The registry has some of them already.
    pub(crate) fn new(registry: &Registry, catalogue: &Catalogue) -> Result<Self, Error> {
        let waited = WAITED.to_vec();
        let whole: HistogramVec = register_histogram_vec_with_registry!(
            "modelhub_request_seconds",
            "From an admitted request, without the time that its client took to send it, to its recorded end.",
            &["stream"],
            waited.clone(),
            registry
        )?;
        Ok(Self {
            models: Models::new(registry, catalogue)?,
            errors: register_int_counter_vec_with_registry!(
                "modelhub_error_answers_total",
                "Answers that are errors, by HTTP status and error code.",
                &["status", "code"],
                registry
            )?,
            not_durable: register_int_counter_with_registry!(
                "modelhub_usage_not_durable_total",
                "Requests whose answer was withheld because their usage could not be made durable.",
                registry
            )?,
            in_flight: register_int_gauge_with_registry!(
                "modelhub_requests_in_flight",
                "Admitted requests that run.",
                registry
            )?,
            whole: [whole.with_label_values(&["false"]), whole.with_label_values(&["true"])],
            first_token: register_histogram_with_registry!(
                "modelhub_first_token_seconds",
                "From a request to the first token of its stream.",
                waited,
                registry
            )?,
            added: register_histogram_with_registry!(
                "modelhub_added_seconds",
                "The gateway's own part of a request: before its first upstream is asked, and after its last one is done.",
                ADDED.to_vec(),
                registry
            )?,
            attempts: register_int_counter_vec_with_registry!(
                "modelhub_upstream_attempts_total",
                "Calls of upstreams, by how they ended before or at the first token.",
                &["upstream", "result"],
                registry
            )?,
            lease_messages: register_int_counter_vec_with_registry!(
                "modelhub_lease_messages_total",
                "Round trips to the ledger for leases; `short` is one that granted less than a request needs.",
                &["result"],
                registry
            )?,
            leases: register_int_gauge_with_registry!(
                "modelhub_leases_open",
                "Accounts that this gateway has a lease on.",
                registry
            )?,
        })
    }

    /// Counts a request as running.
    pub(crate) fn runs(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A request ended, and its event is durable.
    pub(crate) fn ended(&self, ended: &Ended<'_>, timing: &Timing, now: Instant) {
        if let Some(model) = self.models.get(ended.model) {
            model.ended(ended);
        }
        self.whole[usize::from(ended.stream)].observe(timing.whole(now).as_secs_f64());
        if let Some(waited) = timing.to_first_token() {
            self.first_token.observe(waited.as_secs_f64());
        }
        if let Some(added) = timing.added(now) {
            self.added.observe(added.as_secs_f64());
        }
    }

    /// A request ended, and its event could not be made durable.
    pub(crate) fn not_durable(&self) {
        self.not_durable.inc();
    }

    /// An answer is an error; `code` is one of ours.
    pub(crate) fn error(&self, status: http::StatusCode, code: &'static str) {
        self.errors.with_label_values(&[status.as_str(), code]).inc();
    }

    /// Takes over what is counted elsewhere. Not to be called by two at once.
    pub(crate) fn refresh(&self, accounts: &Accounts, upstreams: &Upstreams) {
        self.models.all().for_each(OfModel::refresh);
        for upstream in upstreams.values() {
            for (result, count) in ATTEMPT_ENDS.iter().zip(upstream.attempts().counts()) {
                show(&self.attempts.with_label_values(&[upstream.name(), result]), count);
            }
        }
        for (result, count) in MESSAGE_ENDS.iter().zip(accounts.lease_messages().counts()) {
            show(&self.lease_messages.with_label_values(&[result]), count);
        }
        self.leases.set(i64::try_from(accounts.leases()).unwrap_or(i64::MAX));
    }
}

/// Brings a counter up to what it counts.
fn show(counter: &IntCounter, count: u64) {
    if count < counter.get() {
        counter.reset();
    }
    counter.inc_by(count - counter.get());
}

/// What a gateway's process asks for before it tells its metrics.
pub struct Refresh {
    metrics: Arc<Metrics>,
    accounts: Arc<Accounts>,
    upstreams: Upstreams,
}

impl Refresh {
    pub(crate) fn new(metrics: Arc<Metrics>, accounts: Arc<Accounts>, upstreams: Upstreams) -> Self {
        Self { metrics, accounts, upstreams }
    }

    /// Brings the gateway's metrics up to date. Not to be called by two at once.
    pub fn refresh(&self) {
        self.metrics.refresh(&self.accounts, &self.upstreams);
    }
}
