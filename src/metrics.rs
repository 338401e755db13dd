//! `/metrics`, in Prometheus' text format, at an address of its own (ADR 29).

mod lag;
mod leased;
mod measured;
mod spooled;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{StatusCode, header};
use prometheus::{IntCounterVec, Registry, TextEncoder, register_int_counter_vec_with_registry};
use schemas::config::Config;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use self::lag::{Lag, LedgerPositions, Positions, UsagePositions};
pub(crate) use self::leased::Leased;
pub(crate) use self::measured::Batches;
pub(crate) use self::spooled::Spooled;
use crate::services::shared::listen;

/// How long one question may take: Prometheus waits for ten seconds.
const ASK_WITHIN: Duration = Duration::from_secs(3);

/// What is known only when it is asked for.
#[async_trait]
pub(crate) trait Probe: Send + Sync + 'static {
    /// What it asks.
    fn name(&self) -> &'static str;
    /// Brings its metrics up to date.
    ///
    /// # Errors
    /// That can't be done now.
    async fn ask(&self) -> Result<()>;
    /// What it told last is not true any more.
    fn forget(&self) {}
}

/// The metrics of one process.
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    failures: IntCounterVec,
    probes: Vec<Box<dyn Probe>>,
}

impl Metrics {
    /// Of a process that plays this role.
    pub(crate) fn new(role: &str) -> Result<Self> {
        let registry = Registry::new();
        let build = prometheus::register_int_gauge_vec_with_registry!(
            "modelhub_build_info",
            "Which build runs, in which role; always 1.",
            &["version", "role"],
            registry
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), role]).set(1);
        let failures = register_int_counter_vec_with_registry!(
            "modelhub_probe_failures_total",
            "Questions for metrics that had no answer in time. What they are about is not told then.",
            &["probe"],
            registry
        )?;
        Ok(Self { registry, failures, probes: Vec::new() })
    }

    /// Asks this, too, whenever metrics are asked for.
    pub(crate) fn probe(&mut self, probe: impl Probe) {
        self.failures.with_label_values(&[probe.name()]);
        self.probes.push(Box::new(probe));
    }

    /// Answers `/metrics` where the configuration says, until `stop`.
    ///
    /// # Errors
    /// Nothing can listen there.
    pub(crate) async fn serve(self, config: &Config, stop: CancellationToken) -> Result<()> {
        let Some(address) = &config.metrics.listen else { return Ok(()) };
        let listener = listen(address, "metrics.listen").await?;
        tracing::info!(address = %listener.local_addr().context("metrics.listen")?, "metrics listen");
        let routes = Router::new().route("/metrics", get(told)).with_state(Arc::new(Mutex::new(self)));
        tokio::spawn(gateway::server::serve(listener, routes, stop));
        Ok(())
    }

    /// One at a time: probes take over what is counted elsewhere.
    async fn tell(&self) -> Result<String> {
        for probe in &self.probes {
            let outcome = timeout(ASK_WITHIN, probe.ask()).await;
            let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {ASK_WITHIN:?}")));
            if let Err(error) = outcome {
                tracing::warn!(probe = probe.name(), error = format!("{error:#}"), "metrics are not complete");
                self.failures.with_label_values(&[probe.name()]).inc();
                probe.forget();
            }
        }
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

async fn told(State(metrics): State<Arc<Mutex<Metrics>>>) -> Response {
    match metrics.lock().await.tell().await {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "metrics can't be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "metrics can't be written; see the log\n").into_response()
        }
    }
}

/// A gateway's own metrics.
#[async_trait]
impl Probe for gateway::Refresh {
    fn name(&self) -> &'static str {
        "gateway"
    }

    async fn ask(&self) -> Result<()> {
        self.refresh();
        Ok(())
    }
}
