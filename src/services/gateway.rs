//! `modelhub gateway`: the public API, on a spool that is drained into Kafka, a ledger's private port and `ClickHouse`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::spool::{self, Drained, Spool};
use gateway::ledger_http::HttpLedger;
use gateway::{UsageLog, Waiting};
use schemas::config::Config;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::shared;
use crate::adapters::StoreStats;
use crate::config::Loaded;
use crate::{outside, shutdown};

/// How long a stop waits for the log to take what is in the spool. The rest is drained after the next start.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
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
    let instance = Uuid::now_v7();
    let kafka = shared::kafka_config(&config, &format!("modelhub-gateway-{instance}"))?;
    let (spool, waiting) = open_spool(&config).await?;
    let usage = shared::clickhouse(&config).await?;
    let after_gateway = CancellationToken::new();
    let upstreams = shared::upstreams(&config, &catalogue, &after_gateway).await?;
    let gateway = gateway::build(gateway::Parts {
        catalogue,
        upstreams,
        ledger,
        stats: Arc::new(StoreStats(usage)),
        usage_log: UsageLog::Spooled(Arc::clone(&spool)),
        waiting,
        key_pepper,
        idempotency: config.idempotency,
        source: format!("/modelhub/gateway/{instance}"),
        context: outside::gateway(),
    });
    let draining = CancellationToken::new();
    let drainer = tokio::spawn(drain(Arc::clone(&spool), kafka, gateway.drained, draining.clone()));
    let listener = shared::listen(&config.listen, "listen").await?;
    tracing::info!(address = %listener.local_addr().context("listen")?, %instance, "gateway listens");
    gateway::server::serve(listener, gateway.routes, stop).await;
    gateway.requests.close();
    gateway.requests.wait().await;
    after_gateway.cancel();
    draining.cancel();
    match timeout(DRAIN_WITHIN, drainer).await {
        Ok(drained) => drained.context("the spool's drain")?,
        Err(_) => tracing::warn!(bytes = spool.status().bytes, "usage is left in the spool; the next start drains it"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Opens this gateway's spool, and sums up what waits in it.
async fn open_spool(config: &Config) -> Result<(Arc<Spool>, Waiting)> {
    let dir = config.spool.dir.clone().unwrap_or_else(|| config.data_dir.join("spool"));
    let spool_config = spool::Config::new(config.spool.max_bytes);
    let open = move || {
        let (mut waiting, mut records) = (Waiting::default(), 0_u64);
        let spool = Spool::open(&dir, spool_config, |record| {
            waiting.add(record);
            records += 1;
        })?;
        if records > 0 {
            tracing::info!(records, "usage waits in the spool and will be drained");
        }
        Ok::<_, spool::OpenError>((Arc::new(spool), waiting))
    };
    spawn_blocking(open).await.context("opening the spool")?.context("spool.dir")
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
