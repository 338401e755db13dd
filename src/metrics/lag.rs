//! How far stores are behind the log. Asked of the stores, so it is true also where no consumer runs.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use eventlog::EventLog;
use futures_util::future::try_join_all;
use prometheus::{IntGaugeVec, Registry, register_int_gauge_vec_with_registry};
use schemas::{Offset, PartitionId};

use super::Probe;

/// A store that follows the log.
#[async_trait]
pub(crate) trait Positions: Send + Sync + 'static {
    /// The first offset of the partition that it does not hold.
    async fn position(&self, partition: PartitionId) -> Result<Offset>;
}

/// The ledger's.
pub(crate) struct LedgerPositions(pub(crate) Arc<dyn ledger::Store>);

/// The projector's.
pub(crate) struct UsagePositions(pub(crate) Arc<dyn projector::UsageStore>);

#[async_trait]
impl Positions for LedgerPositions {
    async fn position(&self, partition: PartitionId) -> Result<Offset> {
        Ok(self.0.head(partition).await?.next)
    }
}

#[async_trait]
impl Positions for UsagePositions {
    async fn position(&self, partition: PartitionId) -> Result<Offset> {
        Ok(self.0.position(partition).await?)
    }
}

/// How many records each partition has that a store does not hold.
pub(crate) struct Lag {
    lag: IntGaugeVec,
    log: Arc<dyn EventLog>,
    stores: Vec<(&'static str, Arc<dyn Positions>)>,
}

impl Lag {
    /// Of these stores, by the names of their consumers.
    pub(crate) fn new(
        registry: &Registry,
        log: Arc<dyn EventLog>,
        stores: Vec<(&'static str, Arc<dyn Positions>)>,
    ) -> Result<Self> {
        let lag = register_int_gauge_vec_with_registry!(
            "modelhub_lag_records",
            "Records of the log that the consumer's store does not hold yet, whoever applies them.",
            &["consumer", "partition"],
            registry
        )?;
        Ok(Self { lag, log, stores })
    }

    async fn behind(&self, store: &dyn Positions, partition: PartitionId) -> Result<u64> {
        // The position first: meanwhile records may be appended and applied.
        let position = store.position(partition).await.context("the store's position")?;
        let end = self.log.end(partition).await.context("the log's end")?;
        Ok(end.0.saturating_sub(position.0))
    }
}

#[async_trait]
impl Probe for Lag {
    fn name(&self) -> &'static str {
        "lag"
    }

    async fn ask(&self) -> Result<()> {
        for (consumer, store) in &self.stores {
            let partitions = (0..self.log.partitions()).map(PartitionId);
            let lags = try_join_all(partitions.map(|partition| async move {
                Ok::<_, anyhow::Error>((partition, self.behind(&**store, partition).await?))
            }));
            for (partition, lag) in lags.await? {
                let gauge = self.lag.with_label_values(&[*consumer, &partition.to_string()]);
                gauge.set(i64::try_from(lag).unwrap_or(i64::MAX));
            }
        }
        Ok(())
    }

    fn forget(&self) {
        self.lag.reset();
    }
}
