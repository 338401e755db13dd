//! `modelhub gateway`: the public API, on Kafka, a ledger's private port and `ClickHouse`.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use gateway::ledger_http::HttpLedger;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::shared;
use crate::adapters::StoreStats;
use crate::config::Loaded;
use crate::{outside, shutdown};

/// Runs until SIGTERM or SIGINT, then finishes what it admitted.
pub(crate) async fn run(loaded: Loaded) -> Result<()> {
    let Loaded { config, catalogue } = loaded;
    let stop = shutdown::on_signal()?;
    let url = shared::required(config.ledger.url.as_ref(), "ledger.url")?;
    let secret = shared::required(config.ledger.secret.as_ref(), "ledger.secret")?;
    let key_pepper = shared::required(config.key_pepper.as_ref(), "key_pepper")?.clone();
    let ledger = Arc::new(HttpLedger::new(url, secret)?);
    let instance = Uuid::now_v7();
    let log = shared::kafka(&config, &format!("modelhub-gateway-{instance}")).await?;
    let usage = shared::clickhouse(&config).await?;
    let after_gateway = CancellationToken::new();
    let upstreams = shared::upstreams(&config, &catalogue, &after_gateway).await?;
    let (routes, requests) = gateway::build(gateway::Parts {
        catalogue,
        upstreams,
        ledger,
        stats: Arc::new(StoreStats(usage)),
        log,
        key_pepper,
        source: format!("/modelhub/gateway/{instance}"),
        context: outside::gateway(),
    });
    let listener = shared::listen(&config.listen, "listen").await?;
    tracing::info!(address = %listener.local_addr().context("listen")?, %instance, "gateway listens");
    gateway::server::serve(listener, routes, stop).await;
    requests.close();
    requests.wait().await;
    after_gateway.cancel();
    tracing::info!("stopped");
    Ok(())
}
