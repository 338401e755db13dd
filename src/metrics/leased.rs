//! What gateways' leases reserve, as the ledger's store has it.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use ledger::Ledger;
use prometheus::{IntGaugeVec, Registry, register_int_gauge_vec_with_registry};
use schemas::api::Funds;

use super::Probe;

const PICO_OF_MICRO: i64 = 1_000_000;

/// A metric without labels has one series: none while it can't be known.
const NO_LABELS: [&str; 0] = [];

/// All leases of all gateways.
pub(crate) struct Leased {
    ledger: Arc<Ledger>,
    leases: IntGaugeVec,
    microusd: IntGaugeVec,
    plan_tokens: IntGaugeVec,
}

impl Leased {
    pub(crate) fn new(registry: &Registry, ledger: Arc<Ledger>) -> Result<Self> {
        Ok(Self {
            ledger,
            leases: register_int_gauge_vec_with_registry!(
                "modelhub_ledger_leases",
                "Leases of all gateways that something may still post on.",
                &NO_LABELS,
                registry
            )?,
            microusd: register_int_gauge_vec_with_registry!(
                "modelhub_ledger_reserved_microusd",
                "Money that leases reserve, in whole millionths of a US dollar.",
                &NO_LABELS,
                registry
            )?,
            plan_tokens: register_int_gauge_vec_with_registry!(
                "modelhub_ledger_reserved_plan_tokens",
                "Plan tokens that leases reserve.",
                &NO_LABELS,
                registry
            )?,
        })
    }
}

#[async_trait]
impl Probe for Leased {
    fn name(&self) -> &'static str {
        "leases"
    }

    async fn ask(&self) -> Result<()> {
        let gateways = self.ledger.leased_gateways().await?;
        let reserved = gateways.iter().try_fold(Funds::ZERO, |sum, gateway| sum.plus(gateway.reserved));
        let reserved = reserved.context("what leases reserve is beyond exact money")?;
        let leases = gateways.iter().map(|gateway| gateway.leases).sum::<u64>();
        let shown = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let microusd = reserved.usd.to_pico().map_or(i64::MAX, |pico| pico / PICO_OF_MICRO);
        self.leases.with_label_values(&NO_LABELS).set(shown(leases));
        self.microusd.with_label_values(&NO_LABELS).set(microusd);
        self.plan_tokens.with_label_values(&NO_LABELS).set(shown(reserved.plan_tokens));
        Ok(())
    }

    fn forget(&self) {
        [&self.leases, &self.microusd, &self.plan_tokens].into_iter().for_each(IntGaugeVec::reset);
    }
}
