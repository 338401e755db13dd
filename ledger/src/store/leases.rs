//! What the ledger asks of its database about leases. The statements are the same for both adapters, but for locks and for
//! how sets go in.

mod adapter;
mod charges;
mod repeats;
mod rows;
mod runs;

use std::collections::BTreeMap;

use accounting::lease::{Lease, Refused};
use async_trait::async_trait;
use schemas::api::{AccountView, CloseLeases, Funds, LeaseRequest, ShareGrant};
use schemas::{AccountId, Event, GatewayId, LeaseId, Offset, PartitionId, Timestamp, Usd};

pub(super) use self::adapter::lease_store;
pub(super) use self::charges::{CHARGES_BEFORE, ChargeRow, RELEASE, RELEASE_LEASE, SET_ASIDE, charge_store};
pub use self::charges::{ChargeStore, PlanCharge, SetAside};
pub(super) use self::repeats::{
    FORGET_ALL_REPEATS, FORGET_REPEATS, POSTED_ON, REPEATS, RepeatRow, SETTLE, repeat_store,
};
pub use self::repeats::{Repeat, RepeatStore, record_tag};
pub(super) use self::rows::{
    END, ENDED_ALREADY, FLOOR, FLOOR_OF_NEW, FORGET, FORGET_DONE, FORGET_GHOSTS, FORGET_POSTED, FORGET_SHARES,
    FundsRow, GATEWAYS, GatewayRow, HeldFunds, KEEP_FLOORS, LEASES, LeaseRow, NO_FUNDS, PARTITIONS_OF_RUNS, POSITION,
    REFILL, REFOLDING, RESERVE, SHARES, UPSERT, UPSERT_SHARES, beyond, failed, has, sum_up, tokens,
};
pub use self::runs::AFTER_ALL;
pub(super) use self::runs::{MEET, RAISE};
use super::StoreError;

/// What became of a message about a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// It was carried out.
    Renewed {
        /// The lease with it.
        lease: Lease,
        /// What is left to grant.
        free: Funds,
        /// What the account's other leases may give back.
        idle_elsewhere: Funds,
        /// The account.
        account: Box<AccountView>,
        /// What its gateway may admit, where it asked for that.
        requests: Option<ShareGrant>,
    },
    /// It must not change anything.
    Refused(Refused, Option<u64>),
    /// A later run of its gateway has said that this one is over: it opens no leases any more.
    RunIsOver,
    /// No such account.
    NoAccount,
    /// What the account has is not known again yet: the store is being folded anew.
    Refolding,
}

/// A gateway as its leases show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasedGateway {
    /// The gateway.
    pub gateway_id: GatewayId,
    /// Its leases that something may still post on.
    pub leases: u64,
    /// What they reserve.
    pub reserved: Funds,
    /// When it was last heard of.
    pub renewed_at: Timestamp,
}

/// What one batch charges on a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The lease.
    pub lease_id: LeaseId,
    /// Whose it has to be.
    pub account_id: AccountId,
    /// How much. Of what is more than the lease was granted and has not posted yet, nothing is kept.
    pub funds: Funds,
}

/// What a usage event says that it charges on its lease; none where it names none.
pub(super) fn charged_on_lease(event: &Event) -> Option<Draw> {
    let usage = event.data.usage()?;
    let (lease_id, funding) = Option::zip(usage.lease_id, usage.funding)?;
    // As much as every store can keep: what the plan covers may be worth more at list price. What is below zero gives
    // nothing back.
    let worth = Funds { usd: usage.cost_usd.min(Usd::from_pico(i64::MAX)), plan_tokens: usage.tokens.total() };
    let funds = Funds::from(funding).min(worth).max(Funds::ZERO);
    Some(Draw { lease_id, account_id: event.subject, funds })
}

/// Leases: kept by a reset, because the log does not hold them.
#[async_trait]
pub trait LeaseStore {
    /// Decides on a gateway's message (`accounting::lease::renew`, and `accounting::request_shares` for its share of the
    /// account's requests) and keeps the decision, in one transaction.
    async fn lease(&self, request: &LeaseRequest, now: Timestamp) -> Result<Leased, StoreError>;

    /// Lets no run of a gateway before the one named open a lease any more. Where none is named, all may.
    async fn end_runs(&self, close: &CloseLeases) -> Result<(), StoreError>;

    /// The partitions of the leases that runs of a gateway before the one named have left.
    async fn partitions_of_runs(&self, close: &CloseLeases) -> Result<Vec<PartitionId>, StoreError>;

    /// Lets those runs end, and their leases once their partition is folded up to where the log ends; returns how many leases
    /// they are.
    async fn end_leases(&self, close: &CloseLeases, ends: &BTreeMap<PartitionId, Offset>) -> Result<u64, StoreError>;

    /// Makes sure that nothing is granted in a partition of which nothing is folded before it is folded up to here, where the
    /// log ends: what an account has is not known before that.
    async fn floor(&self, ends: &[(PartitionId, Offset)]) -> Result<(), StoreError>;

    /// The first partition that is not folded yet up to where something may be granted in it.
    async fn refolding(&self) -> Result<Option<PartitionId>, StoreError>;

    /// Every gateway that has leases; the ledger's own are none's.
    async fn gateways(&self) -> Result<Vec<LeasedGateway>, StoreError>;
}
