//! `modelhub admin gateways`: on the stores themselves, which may be in use.

use anyhow::Result;
use ledger::{LeasedGateway, gateways};
use schemas::{GatewayId, Timestamp, Usd};
use serde::Serialize;

use crate::cli::GatewaysCommand;
use crate::config::Loaded;
use crate::{print, stores};

#[derive(Serialize)]
struct Row {
    gateway_id: GatewayId,
    leases: u64,
    reserved_usd: Usd,
    reserved_plan_tokens: u64,
    heard_of_at: Timestamp,
}

impl From<&LeasedGateway> for Row {
    fn from(gateway: &LeasedGateway) -> Self {
        Self {
            gateway_id: gateway.gateway_id,
            leases: gateway.leases,
            reserved_usd: gateway.reserved.usd,
            reserved_plan_tokens: gateway.reserved.plan_tokens,
            heard_of_at: gateway.renewed_at,
        }
    }
}

pub(super) async fn run(loaded: &Loaded, command: Option<GatewaysCommand>, json: bool) -> Result<()> {
    match command {
        None => list(loaded, json).await,
        Some(GatewaysCommand::Abandon { gateway }) => abandon(loaded, gateway, json).await,
    }
}

async fn list(loaded: &Loaded, json: bool) -> Result<()> {
    let store = stores::ledger_as_is(&loaded.config).await?;
    let rows: Vec<Row> = store.gateways().await?.iter().map(Row::from).collect();
    store.close().await;
    if json {
        return print::json(&rows);
    }
    let head = ["gateway", "leases", "reserved USD", "reserved plan tokens", "last heard of"].map(str::to_owned);
    let mut table = vec![head.to_vec()];
    table.extend(rows.iter().map(|row| {
        vec![
            row.gateway_id.to_string(),
            row.leases.to_string(),
            row.reserved_usd.to_string(),
            row.reserved_plan_tokens.to_string(),
            row.heard_of_at.to_string(),
        ]
    }));
    print::table(&table)
}

async fn abandon(loaded: &Loaded, gateway: GatewayId, json: bool) -> Result<()> {
    let store = stores::ledger(&loaded.config).await?;
    let log = stores::log(&loaded.config).await?;
    let closed = gateways::abandon(&*store, &*log, gateway).await;
    store.close().await;
    let closed = closed?;
    if json {
        return print::json(&closed);
    }
    let ended = format!("{} leases; what they reserve is free once the log is folded up to here", closed.leases);
    print::rows(&[&["gateway", &gateway.to_string()], &["ended", &ended]])
}
