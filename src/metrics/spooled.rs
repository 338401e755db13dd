//! What waits in a gateway's spool.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use eventlog::spool::Spool;
use prometheus::{IntGauge, Registry, register_int_gauge_with_registry};

use super::Probe;

/// A gateway's spool.
pub(crate) struct Spooled {
    spool: Arc<Spool>,
    bytes: IntGauge,
    max_bytes: IntGauge,
    reserved_bytes: IntGauge,
    records: IntGauge,
    oldest_seconds: IntGauge,
}

impl Spooled {
    pub(crate) fn new(registry: &Registry, spool: Arc<Spool>) -> Result<Self> {
        Ok(Self {
            spool,
            bytes: register_int_gauge_with_registry!(
                "modelhub_spool_bytes",
                "Bytes that the spool takes on disk.",
                registry
            )?,
            max_bytes: register_int_gauge_with_registry!(
                "modelhub_spool_max_bytes",
                "The most that it may take; then requests get 503.",
                registry
            )?,
            reserved_bytes: register_int_gauge_with_registry!(
                "modelhub_spool_reserved_bytes",
                "Bytes set aside for the events of requests that run.",
                registry
            )?,
            records: register_int_gauge_with_registry!(
                "modelhub_spool_records",
                "Usage events that the log has not confirmed.",
                registry
            )?,
            oldest_seconds: register_int_gauge_with_registry!(
                "modelhub_spool_oldest_seconds",
                "For how long the oldest of them waits; of what an earlier run left, since this one began.",
                registry
            )?,
        })
    }
}

#[async_trait]
impl Probe for Spooled {
    fn name(&self) -> &'static str {
        "spool"
    }

    async fn ask(&self) -> Result<()> {
        let status = self.spool.status();
        let shown = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.bytes.set(shown(status.bytes));
        self.max_bytes.set(shown(status.max_bytes));
        self.reserved_bytes.set(shown(status.reserved_bytes));
        self.records.set(shown(status.records));
        self.oldest_seconds.set(shown(status.oldest.map_or(0, |age| age.as_secs())));
        Ok(())
    }
}
