//! Leases. Round trips to here are a gateway's, in the background: no request waits for one while its gateway's lease lasts.

use std::time::Duration;

use accounting::lease::Refused;
use schemas::GatewayId;
use schemas::api::{CloseLeases, ClosedLeases, LeaseGrant, LeaseRequest, Refusal};

use super::{Ledger, LedgerError};
use crate::gateways;
use crate::store::{Leased, LeasedGateway};

/// For how long a gateway admits requests on a lease that it can't renew.
pub const LEASE_TTL: Duration = Duration::from_secs(10);

impl Ledger {
    /// Carries out a gateway's message about its lease.
    pub async fn lease(&self, request: LeaseRequest) -> Result<LeaseGrant, LedgerError> {
        let LeaseRequest { account_id, lease_id, gateway_id, run_id, seq, wish, .. } = request;
        if gateway_id == GatewayId::LEDGER {
            let detail = format!("{gateway_id} is the ledger itself, and no gateway");
            return Err(Refusal::Invalid { field: "gateway_id".into(), detail }.into());
        }
        match self.parts.store.lease(&request, self.parts.outside.now()).await? {
            Leased::Renewed { lease, free, idle_elsewhere, account, requests } => Ok(LeaseGrant {
                lease_id,
                seq,
                granted: lease.granted,
                ttl_ms: u64::try_from(self.parts.lease_ttl.as_millis()).unwrap_or(u64::MAX),
                tight: !lease.granted.covers(wish),
                free,
                idle_elsewhere,
                account: *account,
                requests,
            }),
            Leased::NoAccount => Err(Refusal::UnknownAccount { account: account_id.to_string() }.into()),
            Leased::Refused(Refused::Stale, last) => {
                Err(Refusal::StaleLease { lease_id, seq, last: last.unwrap_or(0) }.into())
            }
            Leased::Refused(Refused::Unknown, _) => Err(Refusal::UnknownLease { lease_id, account_id }.into()),
            Leased::RunIsOver => Err(Refusal::RunIsOver { gateway_id, run_id }.into()),
            Leased::Refused(Refused::Impossible, _) => {
                let detail = format!("lease {lease_id} speaks of more than it was granted, or contradicts itself");
                Err(Refusal::Invalid { field: "lease".into(), detail }.into())
            }
            Leased::Refolding => Err(LedgerError::Unavailable(
                "its store is being folded again, and nothing is granted until it knows again what accounts have"
                    .into(),
            )),
        }
    }

    /// Lets the leases of a gateway's other runs end, once all that those runs appended is folded: that is in the log by
    /// now, says the gateway.
    pub async fn close_leases(&self, close: CloseLeases) -> Result<ClosedLeases, LedgerError> {
        gateways::close(&*self.parts.store, &*self.parts.log, &close).await
    }

    /// Every gateway that has leases, with what they reserve.
    pub async fn leased_gateways(&self) -> Result<Vec<LeasedGateway>, LedgerError> {
        Ok(self.parts.store.gateways().await?)
    }
}
