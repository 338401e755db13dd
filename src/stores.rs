//! The log and the stores themselves, for commands that work on them without a service: those of the data folder, or,
//! where `kafka` is configured, those of distributed mode.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eventlog::embedded::EmbeddedLog;
use eventlog::{EventLog, Sink};
use projector::UsageStore;
use schemas::config::Config;
use schemas::{PartitionId, Position};
use tokio::time::{Instant, sleep};

use crate::data_dir::DataDir;
use crate::services::{embedded, shared};

/// Beyond a consumer's session: how long brokers may take to miss one that was killed.
const MISSED: Duration = Duration::from_secs(5);

/// How often they are asked.
const ASK: Duration = Duration::from_millis(500);

pub(crate) fn is_distributed(config: &Config) -> bool {
    config.kafka.is_some()
}

/// The log. Others may append and read meanwhile.
pub(crate) async fn log(config: &Config) -> Result<Arc<dyn EventLog>> {
    if is_distributed(config) {
        return Ok(shared::kafka(config, "modelhub-cli").await?);
    }
    let path = existing(config, "log.sqlite")?;
    Ok(Arc::new(EmbeddedLog::open(&path, embedded::PARTITIONS).await.context("log.sqlite")?))
}

/// The ledger's store.
pub(crate) async fn ledger(config: &Config) -> Result<Arc<dyn ledger::Store>> {
    if is_distributed(config) {
        let postgres = shared::required(config.postgres.as_ref(), "postgres.url")?;
        return Ok(Arc::new(ledger::PostgresStore::open(postgres.url.expose()).await.context("postgres.url")?));
    }
    Ok(Arc::new(ledger::SqliteStore::open(&existing(config, "ledger.sqlite")?).await.context("ledger.sqlite")?))
}

/// The ledger's store, for whoever only looks: its tables stay what they are.
pub(crate) async fn ledger_as_is(config: &Config) -> Result<Arc<dyn ledger::Store>> {
    if is_distributed(config) {
        let postgres = shared::required(config.postgres.as_ref(), "postgres.url")?;
        return Ok(Arc::new(ledger::PostgresStore::open_as_is(postgres.url.expose()).await.context("postgres.url")?));
    }
    let path = existing(config, "ledger.sqlite")?;
    Ok(Arc::new(ledger::SqliteStore::open_as_is(&path).await.context("ledger.sqlite")?))
}

/// The usage store, likewise.
pub(crate) async fn usage_as_is(config: &Config) -> Result<Arc<dyn UsageStore>> {
    if is_distributed(config) {
        let clickhouse = shared::required(config.clickhouse.as_ref(), "clickhouse.url")?;
        return Ok(Arc::new(projector::ClickHouseStore::connect_as_is(clickhouse).await.context("clickhouse.url")?));
    }
    let path = existing(config, "usage.sqlite")?;
    Ok(Arc::new(projector::SqliteStore::open_as_is(&path).await.context("usage.sqlite")?))
}

/// The usage store.
pub(crate) async fn usage(config: &Config) -> Result<Arc<dyn UsageStore>> {
    if is_distributed(config) {
        return Ok(shared::clickhouse(config).await?);
    }
    Ok(Arc::new(projector::SqliteStore::open(&existing(config, "usage.sqlite")?).await.context("usage.sqlite")?))
}

/// A command that only looks must not make an empty installation where there is none.
fn existing(config: &Config, name: &str) -> Result<PathBuf> {
    let path = config.data_dir.join(name);
    ensure!(
        path.exists(),
        "there is no {}: set data_dir (or MODELHUB_DATA_DIR) to the data folder, or kafka, postgres and clickhouse to \
         those of a distributed installation",
        path.display()
    );
    Ok(path)
}

/// Nobody else writes a store while this is held.
pub(crate) struct Alone {
    _data: Option<DataDir>,
}

/// Makes sure that no `service` (`ledger` or `projector`) writes its store.
pub(crate) async fn alone(config: &Config, service: &str) -> Result<Alone> {
    if !is_distributed(config) {
        existing(config, "log.sqlite")?;
        let Some(data) = DataDir::take(&config.data_dir)? else {
            bail!(
                "{} is in use by a running modelhub: stop it (SIGTERM, or Ctrl-C where it runs), then run this again",
                config.data_dir.display()
            );
        };
        return Ok(Alone { _data: Some(data) });
    }
    let (log, group) = (shared::kafka(config, "modelhub-cli").await?, shared::group(config, service));
    let session = config.kafka.as_ref().map_or(0, |kafka| kafka.session_timeout_ms);
    let missed = Duration::from_millis(session.into()) + MISSED;
    let begun = Instant::now();
    loop {
        let members = log.members(&group).await?;
        if members == 0 {
            return Ok(Alone { _data: None });
        }
        ensure!(
            begun.elapsed() < missed,
            "{members} running `modelhub {service}` would write the store at the same time: stop every one (SIGTERM), \
             then run this again"
        );
        sleep(ASK).await;
    }
}

/// Gives a sink everything from its position to where the log ends now; returns the number of records.
pub(crate) async fn fold(log: &dyn EventLog, sink: &dyn Sink) -> Result<u64> {
    let mut records = 0;
    for partition in (0..log.partitions()).map(PartitionId) {
        let end = log.end(partition).await?;
        let mut from = sink.position(partition).await?;
        while from < end {
            let batch = log.read(partition, from, eventlog::Bounds::default()).await?;
            let (next, count) = (batch.next, batch.records.len());
            ensure!(count > 0, "the log ends at {}, before {end}", Position { partition, offset: from });
            sink.apply(batch).await?;
            (from, records) = (next, records + count as u64);
        }
    }
    Ok(records)
}
