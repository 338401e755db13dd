//! Charges that can't post, because another one of the same request has (ADR 25): what their leases set aside for them is
//! drawn all the same, once, or it would stay reserved until the gateway's next start.
//!
//! A record that was appended twice is one charge, and its repeats draw nothing. What tells the two apart is the record: a
//! repeat has the same bytes.

use accounting::ChainHash;
use async_trait::async_trait;
use schemas::{AccountId, Event, EventId, LeaseId, Offset};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Draw, charged_on_lease};
use crate::store::StoreError;
use crate::store::read::Money;

/// A usage event's record whose event had posted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The event.
    pub event_id: EventId,
    /// The record's own tag ([`record_tag`]).
    pub record_tag: i64,
    /// What it says that it charges on its lease.
    pub draw: Draw,
}

impl Repeat {
    /// Of a record whose event is posted; none where it is not usage on a lease.
    pub(in crate::store) fn of(event: &Event, record: &[u8]) -> Option<Self> {
        Some(Self { event_id: event.id, record_tag: record_tag(record), draw: charged_on_lease(event)? })
    }
}

/// What tells records of one event id apart: eight bytes of a SHA-256.
pub fn record_tag(record: &[u8]) -> i64 {
    ChainHash::GENESIS.extend(Offset(0), record).tag()
}

/// Repeats that nobody has looked into yet.
#[async_trait]
pub trait RepeatStore {
    /// Those whose leases are still there, at most `limit`; others are forgotten.
    async fn repeats(&self, limit: u32) -> Result<Vec<Repeat>, StoreError>;

    /// Says what a repeat is: `another` charge is drawn from its lease, once, and the same record told again from none.
    async fn settle_repeat(&self, repeat: &Repeat, another: bool) -> Result<(), StoreError>;
}

pub(in crate::store) const FORGET_REPEATS: &str = "\
    DELETE FROM repeated_charges
    WHERE NOT EXISTS (SELECT 1 FROM leases WHERE leases.lease_id = repeated_charges.lease_id)";

pub(in crate::store) const FORGET_ALL_REPEATS: &str = "DELETE FROM repeated_charges";

pub(in crate::store) const REPEATS: &str = "\
    SELECT event_id, record_tag, lease_id, account_id, usd, tokens FROM repeated_charges WHERE settled = $1
    ORDER BY event_id, record_tag LIMIT $2";

pub(in crate::store) const SETTLE: &str = "\
    UPDATE repeated_charges SET settled = $3 WHERE event_id = $1 AND record_tag = $2 AND settled <> $3";

pub(in crate::store) const POSTED_ON: &str = "\
    UPDATE leases SET posted_usd = $3, posted_tokens = $4 WHERE lease_id = $1 AND account_id = $2";

/// A row of `repeated_charges`.
#[derive(FromRow)]
pub(in crate::store) struct RepeatRow {
    event_id: Uuid,
    record_tag: i64,
    lease_id: Uuid,
    account_id: Uuid,
    usd: Money,
    tokens: i64,
}

impl RepeatRow {
    pub(in crate::store) fn read(&self) -> Result<Repeat, StoreError> {
        let funds = super::rows::funds(self.usd, self.tokens)?;
        let draw = Draw { lease_id: LeaseId(self.lease_id), account_id: AccountId(self.account_id), funds };
        Ok(Repeat { event_id: EventId(self.event_id), record_tag: self.record_tag, draw })
    }
}

/// [`RepeatStore`] on a pool of either database, beside what `lease_store` makes there.
macro_rules! repeat_store {
    ($store:ty, $pool:ident, $begin:literal) => {
        #[async_trait::async_trait]
        impl RepeatStore for $store {
            async fn repeats(&self, limit: u32) -> Result<Vec<Repeat>, StoreError> {
                query(leases::FORGET_REPEATS).execute(&self.$pool).await.map_err(failed)?;
                let repeats = query_as(leases::REPEATS).bind(false).bind(i64::from(limit));
                let repeats: Vec<RepeatRow> = repeats.fetch_all(&self.$pool).await.map_err(failed)?;
                repeats.iter().map(RepeatRow::read).collect()
            }

            async fn settle_repeat(&self, repeat: &Repeat, another: bool) -> Result<(), StoreError> {
                let Repeat { event_id, record_tag, draw } = repeat;
                let mut transaction = self.$pool.begin_with($begin).await.map_err(failed)?;
                let funds = locked(&mut transaction, draw.account_id).await?;
                let settle = query(leases::SETTLE).bind(event_id.0).bind(record_tag).bind(true);
                let settled = settle.execute(&mut *transaction).await.map_err(failed)?.rows_affected() == 1;
                // A store that is folded again has forgotten it, and notes it anew.
                if let Some(funds) = funds.filter(|_| settled && another) {
                    let (lease, _) = open(&mut transaction, draw.account_id, draw.lease_id).await?;
                    if let Some(lease) = lease {
                        let posted = lease.posted.plus(draw.funds.min(lease.reserved())).ok_or_else(leases::beyond)?;
                        let post = query(leases::POSTED_ON)
                            .bind(draw.lease_id.0)
                            .bind(draw.account_id.0)
                            .bind(Money(posted.usd))
                            .bind(leases::tokens(posted.plan_tokens));
                        post.execute(&mut *transaction).await.map_err(failed)?;
                        release(&mut transaction, draw.account_id, funds.has).await?;
                    }
                }
                transaction.commit().await.map_err(failed)
            }
        }
    };
}

pub(in crate::store) use repeat_store;
