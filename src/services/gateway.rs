//! `modelhub gateway`: the public API, on a spool that is drained into Kafka, a ledger's private port and `ClickHouse`.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::spool::{self, Drained, Spool};
use gateway::ledger_http::HttpLedger;
use gateway::{Identity, Leftovers, UsageLog};
use schemas::GatewayId;
use schemas::config::Config;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::shared;
use crate::adapters::StoreStats;
use crate::config::Loaded;
use crate::metrics::{Metrics, Spooled};
use crate::{outside, run_id, shutdown};

/// How long a stop waits for the log to take what is in the spool. The rest is drained after the next start.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// Which gateway this is: beside its spool, because whoever has that answers for what was spent.
const ID_FILE: &str = "gateway-id";
/// How long it rests before it looks for the log again.
const CONNECT_EVERY: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT, then finishes what it admitted.
pub(crate) async fn run(loaded: Loaded) -> Result<()> {
    let Loaded { config, catalogue } = loaded;
    let stop = shutdown::on_signal()?;
    let url = shared::required(config.ledger.url.as_ref(), "ledger.url")?;
    let secret = shared::required(config.ledger.secret.as_ref(), "ledger.secret")?;
    let key_pepper = shared::required(config.key_pepper.as_ref(), "key_pepper")?.clone();
    let ledger = Arc::new(HttpLedger::new(url, secret)?);
    let (spool, identity, leftovers) = open_spool(&config).await?;
    let Identity { gateway_id, run_id } = identity;
    let kafka = shared::kafka_config(&config, &format!("modelhub-gateway-{run_id}"))?;
    let usage = shared::clickhouse(&config).await?;
    let after_gateway = CancellationToken::new();
    let upstreams = shared::upstreams(&config, &catalogue, &after_gateway).await?;
    let mut metrics = Metrics::new("gateway")?;
    metrics.probe(Spooled::new(&metrics.registry, Arc::clone(&spool))?);
    let gateway = gateway::build(gateway::Parts {
        catalogue,
        upstreams,
        ledger,
        stats: Arc::new(StoreStats(usage)),
        usage_log: UsageLog::Spooled(Arc::clone(&spool)),
        identity,
        key_pepper,
        idempotency: config.idempotency,
        source: format!("/modelhub/gateway/{run_id}"),
        context: outside::gateway(),
        registry: metrics.registry.clone(),
    })?;
    metrics.probe(gateway.refresh);
    metrics.serve(&config, after_gateway.clone()).await?;
    let draining = CancellationToken::new();
    let drainer = tokio::spawn(drain(Arc::clone(&spool), kafka, leftovers.clone(), draining.clone()));
    let keeper = Arc::new(gateway.keeper);
    let keep = Arc::clone(&keeper);
    let keeping = tokio::spawn(async move {
        let earlier = async {
            leftovers.gone().await;
            keep.close_earlier().await;
        };
        tokio::join!(keep.keep(), earlier)
    });
    let listener = shared::listen(&config.listen, "listen").await?;
    tracing::info!(address = %listener.local_addr().context("listen")?, %gateway_id, %run_id, "gateway listens");
    gateway::server::serve(listener, gateway.routes, stop).await;
    gateway.requests.close();
    gateway.requests.wait().await;
    keeping.abort();
    keeper.close().await;
    after_gateway.cancel();
    draining.cancel();
    match timeout(DRAIN_WITHIN, drainer).await {
        Ok(drained) => drained.context("the spool's drain")?,
        Err(_) => tracing::warn!(bytes = spool.status().bytes, "usage is left in the spool; the next start drains it"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Opens this gateway's spool, and counts what waits in it. Who has the spool is that gateway, whatever machine it is on.
async fn open_spool(config: &Config) -> Result<(Arc<Spool>, Identity, Arc<Leftovers>)> {
    let dir = config.spool.dir.clone().unwrap_or_else(|| config.data_dir.join("spool"));
    let spool_config = spool::Config::new(config.spool.max_bytes);
    let open = move || {
        let leftovers = Leftovers::default();
        let spool = Spool::open(&dir, spool_config, |record| leftovers.add(record)).context("spool.dir")?;
        let gateway_id = gateway_id(&dir.join(ID_FILE)).with_context(|| format!("{}", dir.join(ID_FILE).display()))?;
        let run_id = run_id::next(&dir)?;
        if !leftovers.is_empty() {
            tracing::info!(records = leftovers.len(), "usage waits in the spool and will be drained");
        }
        Ok((Arc::new(spool), Identity { gateway_id, run_id }, Arc::new(leftovers)))
    };
    spawn_blocking(open).await.context("opening the spool")?
}

/// The id in this file, made on first use.
fn gateway_id(path: &Path) -> Result<GatewayId> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().context("is not a gateway's id, a UUID; its leases can't be closed without it"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = GatewayId(Uuid::now_v7());
            run_id::write(path, &id.to_string())?;
            Ok(id)
        }
        Err(error) => Err(error.into()),
    }
}

/// Drains the spool into Kafka, once that can be reached: a gateway starts, and serves, without it. A drain that panics is
/// told and run again, or nothing would be billed any more in a process that goes on answering.
async fn drain(spool: Arc<Spool>, kafka: KafkaConfig, told: Arc<dyn Drained>, stop: CancellationToken) {
    loop {
        let (spool, kafka, told, until) = (Arc::clone(&spool), kafka.clone(), Arc::clone(&told), stop.clone());
        let run = tokio::spawn(async move {
            let log = Arc::new(KafkaLog::connect_patiently(kafka).await?);
            spool.drain(log, told, until).await;
            Ok::<_, eventlog::LogError>(())
        });
        let error = match run.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::error!(error, "usage waits in the spool; its drain will be run again");
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(CONNECT_EVERY) => {}
        }
    }
}
