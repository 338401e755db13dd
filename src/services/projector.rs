//! `modelhub projector`: folds Kafka's log, at what the ledger charged, into `ClickHouse`.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use gateway::ledger_http::HttpLedger;
use http::StatusCode;
use projector::{ProjectorSink, UsageStore};
use schemas::PartitionId;

use super::shared;
use crate::adapters::HttpPostings;
use crate::config::Loaded;
use crate::metrics::{Batches, Lag, Metrics, UsagePositions};
use crate::shutdown;

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(loaded: Loaded) -> Result<()> {
    let Loaded { config, .. } = loaded;
    let stop = shutdown::on_signal()?;
    let store: Arc<dyn UsageStore> = shared::clickhouse(&config).await?;
    let log = shared::kafka(&config, "modelhub-projector").await?;
    let url = shared::required(config.ledger.url.as_ref(), "ledger.url")?;
    let secret = shared::required(config.ledger.secret.as_ref(), "ledger.secret")?;
    let postings = HttpPostings(HttpLedger::new(url, secret)?);
    let mut metrics = Metrics::new("projector")?;
    let sink = ProjectorSink::new(Arc::clone(&store), Arc::new(postings));
    let sink = Batches::new(&metrics.registry)?.of("projector", sink);
    let positions = Arc::new(UsagePositions(Arc::clone(&store)));
    metrics.probe(Lag::new(&metrics.registry, log.clone(), vec![("projector", positions)])?);
    metrics.serve(&config, stop.clone()).await?;
    let group = shared::group(&config, "projector");
    let consumer = shared::consumer(log, group, sink, stop.clone(), stop.clone());
    let listener = shared::listen(&config.projector.listen, "projector.listen").await?;
    tracing::info!(address = %listener.local_addr().context("projector.listen")?, "projector listens");
    gateway::server::serve(listener, health(store), stop).await;
    consumer.await.context("the projector's consumer")?.context("kafka.topic and clickhouse.url")?;
    tracing::info!("stopped");
    Ok(())
}

fn health(store: Arc<dyn UsageStore>) -> Router {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(store)
}

async fn ready(State(store): State<Arc<dyn UsageStore>>) -> (StatusCode, &'static str) {
    match store.position(PartitionId(0)).await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the usage store can't be reached\n")
        }
    }
}
