//! What several services need.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, LogError, Sink};
use gateway::{Upstream, Upstreams};
use ledger::Ledger;
use projector::ClickHouseStore;
use schemas::catalogue::Catalogue;
use schemas::config::{Config, Secret, Upstream as UpstreamConfig, without_credentials};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::DEMO_UPSTREAM;

/// The consumer group of all services of one kind on one topic.
pub(crate) fn group(config: &Config, service: &str) -> String {
    let topic = config.kafka.as_ref().map_or("modelhub.events", |kafka| &kafka.topic);
    format!("{topic}.{service}")
}

/// How long a consumer that failed rests before it is run again.
const RERUN_AFTER: Duration = Duration::from_secs(1);

/// Listens on `address`, which the configuration has under `key`.
pub(crate) async fn listen(address: &str, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: listening on {address}"))
}

/// What a key of the configuration must hold in distributed mode.
pub(crate) fn required<'a, T>(value: Option<&'a T>, key: &str) -> Result<&'a T> {
    let variable = format!("MODELHUB_{}", key.replace('.', "__").to_uppercase());
    value.with_context(|| format!("{key} is not set; distributed mode needs it (modelhub.toml, or {variable})"))
}

/// Connects to Kafka.
pub(crate) async fn kafka(config: &Config, client_id: &str) -> Result<Arc<KafkaLog>> {
    let kafka = kafka_config(config, client_id)?;
    let brokers = kafka.brokers.clone();
    Ok(Arc::new(KafkaLog::connect(kafka).await.with_context(|| format!("kafka.brokers: {brokers}"))?))
}

/// How Kafka is reached.
pub(super) fn kafka_config(config: &Config, client_id: &str) -> Result<KafkaConfig> {
    let kafka = required(config.kafka.as_ref(), "kafka.brokers")?;
    Ok(KafkaConfig {
        brokers: kafka.brokers.clone(),
        topic: kafka.topic.clone(),
        partitions: kafka.partitions,
        replication: kafka.replication,
        session_timeout: Duration::from_millis(kafka.session_timeout_ms.into()),
        client_id: client_id.to_owned(),
    })
}

/// Connects to `ClickHouse`.
pub(crate) async fn clickhouse(config: &Config) -> Result<Arc<ClickHouseStore>> {
    let clickhouse = required(config.clickhouse.as_ref(), "clickhouse.url")?;
    let store = ClickHouseStore::connect(clickhouse).await;
    Ok(Arc::new(store.with_context(|| format!("clickhouse.url: {}", without_credentials(&clickhouse.url)))?))
}

/// Runs a sink over the log until `stop`. A run that fails is told and run again: the position of record says where. So is
/// one that panics, or nothing would be folded any more in a process that goes on answering. Where the log can't be gone on
/// with, running it again can't help.
async fn consume(
    log: Arc<dyn EventLog>,
    group: String,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) -> Result<(), LogError> {
    loop {
        let (log, sink, ran_as, until) = (Arc::clone(&log), Arc::clone(&sink), group.clone(), stop.clone());
        let run = tokio::spawn(async move { log.run(&ran_as, sink, until).await });
        let error = match run.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(lost @ LogError::Lost(_))) => return Err(lost),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::error!(group, error, "the consumer failed and will be run again");
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(RERUN_AFTER) => {}
        }
    }
}

/// The same on a task. A process whose consumer is gone for good must not go on answering, so `process` is cancelled then, and
/// what is waited for tells why.
pub(super) fn consumer(
    log: Arc<dyn EventLog>,
    group: String,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
    process: CancellationToken,
) -> JoinHandle<Result<(), LogError>> {
    tokio::spawn(async move {
        let outcome = consume(log, group.clone(), sink, stop).await;
        if let Err(error) = &outcome {
            tracing::error!(group, %error, "the consumer can't go on, and this process ends");
            process.cancel();
        }
        outcome
    })
}

/// Issues each month's invoices when it is over, until `stop`. Whatever it is cut short at, the next start goes on.
pub(super) fn invoices(config: &Config, ledger: &Arc<Ledger>, stop: &CancellationToken) {
    if !config.invoices.automatic {
        return;
    }
    let (ledger, stop) = (Arc::clone(ledger), stop.clone());
    tokio::spawn(async move { stop.run_until_cancelled(ledger::monthly(&ledger)).await });
}

/// Deletes answers kept for repeats when their time is over, until `stop`.
pub(super) fn sweep_answers(ledger: &Arc<Ledger>, stop: &CancellationToken) {
    let (ledger, stop) = (Arc::clone(ledger), stop.clone());
    tokio::spawn(async move { stop.run_until_cancelled(ledger::sweep_answers(&ledger)).await });
}

/// Prepares every upstream of the configuration, and the built-in demo where a model is on it.
pub(super) async fn upstreams(config: &Config, catalogue: &Catalogue, stop: &CancellationToken) -> Result<Upstreams> {
    let mut upstreams = Upstreams::new();
    for upstream in &config.upstreams {
        let key = match &upstream.api_key_env {
            Some(variable) => Some(Secret::new(std::env::var(variable).with_context(|| {
                format!(
                    "upstreams: `{}`: api_key_env names {variable}, which is not set in the environment",
                    upstream.name
                )
            })?)),
            None => None,
        };
        upstreams.insert(upstream.name.clone(), Arc::new(Upstream::new(upstream, key.as_ref())?));
    }
    if catalogue.models.values().any(|model| model.routes().any(|(upstream, _)| upstream == DEMO_UPSTREAM)) {
        let demo = demo_upstream(stop).await?;
        upstreams.insert(DEMO_UPSTREAM.to_owned(), Arc::new(Upstream::new(&demo, None)?));
    }
    Ok(upstreams)
}

/// Starts the demo upstream on a free loopback port.
async fn demo_upstream(stop: &CancellationToken) -> Result<UpstreamConfig> {
    let listener = listen("127.0.0.1:0", "the demo upstream").await?;
    let base_url = format!("http://{}/v1", listener.local_addr()?);
    tokio::spawn(gateway::server::serve(listener, gateway::demo::routes(), stop.clone()));
    Ok(UpstreamConfig {
        name: DEMO_UPSTREAM.to_owned(),
        base_url,
        api_key_env: None,
        connect_timeout_ms: 2_000,
        first_token_timeout_ms: 60_000,
        idle_timeout_ms: 30_000,
        content_timeout_ms: 300_000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use eventlog::{AppendError, Batch, Bounds, LogError, Record, SinkError};
    use schemas::{Offset, PartitionId, Position};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A log whose first run panics, whose second fails, and whose third ends.
    #[derive(Default)]
    struct Troubled(AtomicU32);

    #[async_trait]
    impl EventLog for Troubled {
        fn partitions(&self) -> u32 {
            1
        }

        async fn append(&self, _: Record) -> Result<Position, AppendError> {
            unreachable!("only run")
        }

        async fn end(&self, _: PartitionId) -> Result<Offset, LogError> {
            unreachable!("only run")
        }

        async fn read(&self, _: PartitionId, _: Offset, _: Bounds) -> Result<Batch, LogError> {
            unreachable!("only run")
        }

        async fn run(&self, _: &str, _: Arc<dyn Sink>, _: CancellationToken) -> Result<(), LogError> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("a fault of this build"),
                1 => Err(LogError::Unavailable("away".to_owned())),
                2 => Ok(()),
                _ => Err(LogError::Lost("records".to_owned())),
            }
        }
    }

    struct Nothing;

    #[async_trait]
    impl Sink for Nothing {
        async fn position(&self, _: PartitionId) -> Result<Offset, SinkError> {
            unreachable!("never run")
        }

        async fn apply(&self, _: Batch) -> Result<(), SinkError> {
            unreachable!("never run")
        }

        fn pace(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[tokio::test]
    async fn a_consumer_that_fails_or_panics_is_run_again() {
        let log = Arc::new(Troubled::default());
        let consumer = consume(log.clone(), "g".to_owned(), Arc::new(Nothing), CancellationToken::new());
        tokio::spawn(consumer).await.expect("the consumer is gone for good").unwrap();
        assert_eq!(log.0.load(Ordering::SeqCst), 3);

        let [consuming, process] = [CancellationToken::new(), CancellationToken::new()];
        let lost = super::consumer(log.clone(), "g".to_owned(), Arc::new(Nothing), consuming, process.clone());
        let error = lost.await.unwrap().unwrap_err().to_string();
        assert_eq!(error, "the event log can't be gone on with: records");
        assert!(process.is_cancelled());
        assert_eq!(log.0.load(Ordering::SeqCst), 4, "not run again");
    }
}
