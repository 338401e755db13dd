//! Plans' prices that the ledger sets aside before it appends the events that charge them, on leases of its own
//! ([`GatewayId::LEDGER`](schemas::GatewayId::LEDGER)). A lease has its event's id, and is gone in the commit that posts it.

use async_trait::async_trait;
use schemas::{AccountId, Event, EventId, Timestamp, Usd};
use sqlx::FromRow;
use uuid::Uuid;

use crate::store::StoreError;

/// What became of setting a price aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// The event may be appended: what it takes is set aside, or it takes nothing.
    Done,
    /// Nothing was changed.
    TooLittle {
        /// What the event takes of the account's credit.
        due: Usd,
        /// What there is.
        credit: Usd,
        /// What leases reserve of that.
        reserved: Usd,
    },
    /// No such account.
    NoAccount,
    /// What the account has is not known again yet: the store is being folded anew.
    Refolding,
}

/// An event that a price was set aside for, and of which nobody has said what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanCharge {
    /// The event.
    pub event_id: EventId,
    /// Whose price it charges.
    pub account_id: AccountId,
}

/// Prices set aside: kept by a reset, as leases are.
#[async_trait]
pub trait ChargeStore {
    /// Sets aside what `event` takes of its account for a plan's price: all of it, or nothing. Done again for the same event,
    /// it is set aside once.
    async fn set_aside(&self, event: &Event, now: Timestamp) -> Result<SetAside, StoreError>;

    /// Gives back what is left of what was set aside for an event, and forgets the event, unless it was set aside again after
    /// `until`: whoever did that goes on with it. Right only when its record is folded, or can't ever be appended.
    async fn release_charge(&self, event: EventId, account: AccountId, until: Timestamp) -> Result<(), StoreError>;

    /// Prices that were set aside before this moment, the longest first, at most `limit`.
    async fn charges_before(&self, moment: Timestamp, limit: u32) -> Result<Vec<PlanCharge>, StoreError>;
}

pub(in crate::store) const SET_ASIDE: &str = "\
    INSERT INTO plan_charges (event_id, account_id, set_aside_at) VALUES ($1, $2, $3)
    ON CONFLICT (event_id) DO UPDATE SET set_aside_at = excluded.set_aside_at";

pub(in crate::store) const RELEASE: &str = "DELETE FROM plan_charges WHERE event_id = $1 AND set_aside_at <= $2";

pub(in crate::store) const RELEASE_LEASE: &str =
    "DELETE FROM leases WHERE lease_id = $1 AND account_id = $2 AND gateway_id = $3";

pub(in crate::store) const CHARGES_BEFORE: &str = "\
    SELECT event_id, account_id FROM plan_charges WHERE set_aside_at < $1 ORDER BY set_aside_at, event_id LIMIT $2";

/// A row of `plan_charges`.
#[derive(FromRow)]
pub(in crate::store) struct ChargeRow {
    event_id: Uuid,
    account_id: Uuid,
}

impl ChargeRow {
    pub(in crate::store) fn read(self) -> PlanCharge {
        let Self { event_id, account_id } = self;
        PlanCharge { event_id: EventId(event_id), account_id: AccountId(account_id) }
    }
}

/// [`ChargeStore`] on a pool of either database, beside what `lease_store` makes there. How a transaction that writes begins
/// is each one's own.
macro_rules! charge_store {
    ($store:ty, $pool:ident, $begin:literal) => {
        #[async_trait::async_trait]
        impl ChargeStore for $store {
            async fn set_aside(&self, event: &Event, now: Timestamp) -> Result<SetAside, StoreError> {
                if price(&event.data).is_none() {
                    return Ok(SetAside::Done);
                }
                let mut transaction = self.$pool.begin_with($begin).await.map_err(failed)?;
                let account = event.subject;
                let Pooled { funds, stored, .. } = match pooled(&mut transaction, account).await? {
                    Found::Pooled(found) => *found,
                    Found::NoAccount => return Ok(SetAside::NoAccount),
                    Found::Refolding => return Ok(SetAside::Refolding),
                };
                let lease_id = LeaseId(event.id.0);
                let (own, others) = open(&mut transaction, account, lease_id).await?;
                let (reserved_elsewhere, _) = leases::sum_up(&others)?;
                let due = due(&stored.state, &event.data, reserved_elsewhere.plan_tokens).ok_or_else(leases::beyond)?;
                let pool = Pool { funds: funds.has, reserved_elsewhere };
                let Some(lease) = set_aside(&pool, own.as_ref(), due, tokens_count(&event.data)) else {
                    return Ok(SetAside::TooLittle { due, credit: funds.has.usd, reserved: reserved_elsewhere.usd });
                };
                let of_ledger = LeaseRequest {
                    account_id: account,
                    lease_id,
                    gateway_id: GatewayId::LEDGER,
                    run_id: RunId(Uuid::nil()),
                    seq: lease.seq,
                    spent: lease.spent,
                    ceiling: lease.granted,
                    need: lease.granted,
                    wish: lease.granted,
                    close: true,
                    requests: None,
                };
                if !keep(&mut transaction, &of_ledger, stored.partition, &lease, now).await? {
                    let why = format!("event {} has the id of another account's lease", event.id);
                    return Err(StoreError::unavailable("set a plan's price aside", why));
                }
                let noted = query(leases::SET_ASIDE).bind(event.id.0).bind(account.0).bind(now.as_micros());
                noted.execute(&mut *transaction).await.map_err(failed)?;
                let reserved = reserved_elsewhere.plus(lease.reserved()).ok_or_else(leases::beyond)?;
                reserve(&mut transaction, account, reserved, funds.short.min(reserved.less(funds.has))).await?;
                transaction.commit().await.map_err(failed)?;
                Ok(SetAside::Done)
            }

            async fn release_charge(
                &self,
                event: EventId,
                account: AccountId,
                until: Timestamp,
            ) -> Result<(), StoreError> {
                let mut transaction = self.$pool.begin_with($begin).await.map_err(failed)?;
                let funds = locked(&mut transaction, account).await?;
                let noted = query(leases::RELEASE).bind(event.0).bind(until.as_micros());
                if noted.execute(&mut *transaction).await.map_err(failed)?.rows_affected() == 0 {
                    return Ok(());
                }
                let lease = query(leases::RELEASE_LEASE).bind(event.0).bind(account.0).bind(GatewayId::LEDGER.0);
                let lease = lease.execute(&mut *transaction).await.map_err(failed)?;
                if let Some(funds) = funds.filter(|_| lease.rows_affected() > 0) {
                    release(&mut transaction, account, funds.has).await?;
                }
                transaction.commit().await.map_err(failed)
            }

            async fn charges_before(&self, moment: Timestamp, limit: u32) -> Result<Vec<PlanCharge>, StoreError> {
                let left = query_as(leases::CHARGES_BEFORE).bind(moment.as_micros()).bind(i64::from(limit));
                let left: Vec<ChargeRow> = left.fetch_all(&self.$pool).await.map_err(failed)?;
                Ok(left.into_iter().map(ChargeRow::read).collect())
            }
        }
    };
}

pub(in crate::store) use charge_store;
