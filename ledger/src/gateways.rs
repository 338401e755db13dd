//! Gateways that hold leases, and how the leases of those end that are no more.

use std::collections::BTreeMap;

use eventlog::EventLog;
use schemas::GatewayId;
use schemas::api::{CloseLeases, ClosedLeases, Refusal};

use crate::service::LedgerError;
use crate::store::{AFTER_ALL, Store};

/// Lets the leases of a gateway's other runs end, once all that those runs appended is folded: that is in the log by now,
/// says the gateway.
///
/// # Errors
/// A refusal where that is no gateway; the log or the store can't be reached.
pub async fn close(store: &dyn Store, log: &dyn EventLog, close: &CloseLeases) -> Result<ClosedLeases, LedgerError> {
    if close.gateway_id == GatewayId::LEDGER {
        let detail = format!("{} is the ledger: what it has set aside ends when that is charged", GatewayId::LEDGER);
        return Err(Refusal::Invalid { field: "gateway".into(), detail }.into());
    }
    // Before any of their leases is looked for: none is opened behind the back of who looks.
    store.end_runs(close).await?;
    let mut ends = BTreeMap::new();
    for partition in store.partitions_of_runs(close).await? {
        let unavailable = |error| LedgerError::Unavailable(format!("where the log ends: {error}"));
        ends.insert(partition, log.end(partition).await.map_err(unavailable)?);
    }
    Ok(ClosedLeases { leases: store.end_leases(close, &ends).await? })
}

/// Lets all leases of a gateway end that never comes back, nor its spool. What waits there would post without a
/// reservation, should it come back after all.
///
/// # Errors
/// A refusal where that gateway has no leases; as in [`close`].
pub async fn abandon(
    store: &dyn Store,
    log: &dyn EventLog,
    gateway_id: GatewayId,
) -> Result<ClosedLeases, LedgerError> {
    if gateway_id != GatewayId::LEDGER
        && !store.gateways().await?.iter().any(|gateway| gateway.gateway_id == gateway_id)
    {
        let detail = format!("{gateway_id} has no leases; `modelhub admin gateways` tells which gateways have some");
        return Err(Refusal::Invalid { field: "gateway".into(), detail }.into());
    }
    let after_all = CloseLeases { gateway_id, run_id: AFTER_ALL };
    close(store, log, &after_all).await
}
