//! Requests that were charged at two gateways and posted once: what the other one set aside is given back (ADR 25).

use tracing::warn;

use super::{Ledger, LedgerError};
use crate::store::record_tag;

/// Records that are looked into at a time.
const AT_ONCE: u32 = 100;

impl Ledger {
    /// Looks into usage records whose events had posted before: which are other charges of the same requests, and which the
    /// same records again, as a gateway's spool repeats them after a crash. Returns how many there were.
    ///
    /// # Errors
    /// The store or the log can't be read.
    pub(super) async fn settle_repeats(&self) -> Result<usize, LedgerError> {
        let repeats = self.parts.store.repeats(AT_ONCE).await?;
        for repeat in &repeats {
            // A store that is folded again does not know yet.
            let Some(posted) = self.parts.store.posted(repeat.event_id).await? else { continue };
            let record = self.record_at(posted.position).await?;
            let another = record_tag(&record) != repeat.record_tag;
            self.parts.store.settle_repeat(repeat, another).await?;
            if another {
                warn!(
                    event = %repeat.event_id,
                    account = %repeat.draw.account_id,
                    lease = %repeat.draw.lease_id,
                    posted_usd = %posted.amount.negated(),
                    other_usd = %repeat.draw.funds.usd,
                    other_plan_tokens = repeat.draw.funds.plan_tokens,
                    "a request was charged twice and is charged once: its Idempotency-Key was taken over"
                );
            }
        }
        Ok(repeats.len())
    }
}

#[cfg(test)]
mod tests {
    use schemas::api::{Funds, LeaseRequest};
    use schemas::{AccountId, GatewayId, LeaseId, RunId, Usd};
    use uuid::Uuid;

    use crate::rig::Rig;
    use crate::service::tests::{done, opened};

    fn usd(amount: &str) -> Usd {
        amount.parse().unwrap()
    }

    fn lease_id(n: u128) -> LeaseId {
        LeaseId(Uuid::from_u128(n))
    }

    async fn lease(rig: &Rig, account_id: AccountId, n: u128, amount: &str) {
        let need = Funds { usd: usd(amount), plan_tokens: 0 };
        let request = LeaseRequest {
            account_id,
            lease_id: lease_id(n),
            gateway_id: GatewayId(Uuid::from_u128(n)),
            run_id: RunId(Uuid::from_u128(n)),
            seq: 1,
            spent: Funds::ZERO,
            ceiling: Funds::ZERO,
            need,
            wish: need,
            close: false,
            requests: None,
        };
        assert_eq!(done(rig.ledger.lease(request).await).granted, need);
    }

    /// Whichever of two gateways' charges posts, the other one's lease is drawn, and spools that tell again draw nothing.
    #[tokio::test]
    async fn a_request_that_was_taken_over_leaves_nothing_reserved() {
        let rig = Rig::new().await;
        let account = opened(&rig, "ann@example.com").await;
        lease(&rig, account, 1, "2").await;
        lease(&rig, account, 2, "2").await;
        let reserved = async || {
            let gateways = done(rig.ledger.leased_gateways().await);
            gateways.iter().map(|gateway| gateway.reserved.usd.to_string()).collect::<Vec<_>>()
        };
        // A usage event's id is derived from its request's.
        let request = account.derive("request").as_u128();
        rig.used_on(lease_id(1), account, request, 1).await;
        assert_eq!(done(rig.ledger.settle_repeats().await), 0);
        rig.used_on(lease_id(1), account, request, 1).await;
        rig.used_on(lease_id(2), account, request, 2).await;
        assert_eq!(reserved().await, ["1", "2"]);
        assert_eq!(done(rig.ledger.settle_repeats().await), 2);
        assert_eq!(reserved().await, ["1", "0"]);
        rig.used_on(lease_id(2), account, request, 2).await;
        assert_eq!(done(rig.ledger.settle_repeats().await), 0);
        assert_eq!(reserved().await, ["1", "0"]);
        assert_eq!(done(rig.ledger.balance(account).await).balance_usd, usd("4"));
    }
}
