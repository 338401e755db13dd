//! `modelhub projector`: folds Kafka's log into `ClickHouse`.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use eventlog::EventLog as _;
use http::StatusCode;
use projector::{ProjectorSink, UsageStore};
use schemas::PartitionId;

use super::shared;
use crate::config::Loaded;
use crate::shutdown;

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(loaded: Loaded) -> Result<()> {
    let Loaded { config, .. } = loaded;
    let stop = shutdown::on_signal()?;
    let store: Arc<dyn UsageStore> = shared::clickhouse(&config).await?;
    let log = shared::kafka(&config, "modelhub-projector").await?;
    let sink = ProjectorSink::new(Arc::clone(&store), log.partitions());
    let consumer =
        tokio::spawn(shared::consume(log, shared::group(&config, "projector"), Arc::new(sink), stop.clone()));
    let listener = shared::listen(&config.projector.listen, "projector.listen").await?;
    tracing::info!(address = %listener.local_addr().context("projector.listen")?, "projector listens");
    gateway::server::serve(listener, health(store), stop).await;
    consumer.await.context("the projector's consumer")?;
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
