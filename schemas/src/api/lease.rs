//! Leases: what a gateway may spend of an account by itself.
//!
//! All amounts of a lease count from its begin: what it was granted, what was spent on it. So a message that is lost or
//! repeated changes nothing that the next one does not put right.

use serde::{Deserialize, Serialize};

use super::{AccountView, ShareGrant, ShareRequest};
use crate::event::Funding;
use crate::{AccountId, GatewayId, LeaseId, RunId, Usd};

/// Money and plan tokens, each for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funds {
    /// Money.
    pub usd: Usd,
    /// Plan tokens.
    pub plan_tokens: u64,
}

impl Funds {
    /// Nothing.
    pub const ZERO: Self = Self { usd: Usd::ZERO, plan_tokens: 0 };

    /// The sum; `None` beyond exact money.
    pub fn plus(self, other: Self) -> Option<Self> {
        let usd = self.usd.checked_add(other.usd)?;
        Some(Self { usd, plan_tokens: self.plan_tokens.checked_add(other.plan_tokens)? })
    }

    /// So many times as much; `None` beyond exact money.
    pub fn times(self, factor: u32) -> Option<Self> {
        (1..factor).try_fold(self, |sum, _| sum.plus(self))
    }

    /// The difference, each part zero where the other side has more.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        let usd = self.usd.checked_sub(other.usd).unwrap_or_default().max(Usd::ZERO);
        Self { usd, plan_tokens: self.plan_tokens.saturating_sub(other.plan_tokens) }
    }

    /// The smaller of each part.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { usd: self.usd.min(other.usd), plan_tokens: self.plan_tokens.min(other.plan_tokens) }
    }

    /// The larger of each part.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { usd: self.usd.max(other.usd), plan_tokens: self.plan_tokens.max(other.plan_tokens) }
    }

    /// Whether each part is at least the other's.
    pub fn covers(self, other: Self) -> bool {
        self.usd >= other.usd && self.plan_tokens >= other.plan_tokens
    }

    /// Whether there is nothing of either, or less.
    pub fn is_none(self) -> bool {
        !self.usd.is_positive() && self.plan_tokens == 0
    }
}

impl From<Funding> for Funds {
    fn from(funding: Funding) -> Self {
        Self { usd: funding.credit_usd, plan_tokens: funding.plan_tokens }
    }
}

/// A gateway's message about its lease on one account: opens it, asks for more, gives back, and closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// Whose funds.
    pub account_id: AccountId,
    /// The lease; a fresh id opens one, greater than those before (UUIDv7). A run has one at a time on an account: an earlier
    /// one of its leases there, on which nothing was spent, is one whose opening was heard too late, and goes.
    pub lease_id: LeaseId,
    /// The gateway.
    pub gateway_id: GatewayId,
    /// Its run.
    pub run_id: RunId,
    /// More than in the message before. A message that comes after a later one is refused.
    pub seq: u64,
    /// Charged on this lease by events that are durable, or are being written.
    pub spent: Funds,
    /// The most that the gateway spends on it until it hears otherwise: what it spent, what running requests hold, and what
    /// it keeps. What it was granted above that is given back.
    pub ceiling: Funds,
    /// What the ceiling has to be for the request that waits: all of that is granted, or nothing.
    pub need: Funds,
    /// What the ceiling would best be, so that the next requests need not ask.
    pub wish: Funds,
    /// Nothing runs on it any more and nothing ever will: `spent` is all that it will ever have been charged.
    pub close: bool,
    /// The gateway's share of the account's requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ShareRequest>,
}

/// A ledger's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseGrant {
    /// The lease.
    pub lease_id: LeaseId,
    /// The message that this answers.
    pub seq: u64,
    /// What the gateway may spend on it, from its begin on.
    pub granted: Funds,
    /// For how long from the sending of the message, in milliseconds, requests may be admitted on it.
    pub ttl_ms: u64,
    /// Whether less was left than the gateway wished for: what it does not need, others do.
    pub tight: bool,
    /// What is left, beyond all that was granted.
    pub free: Funds,
    /// What others have been granted and have not spent, as far as is known: it may come back.
    pub idle_elsewhere: Funds,
    /// The account.
    pub account: AccountView,
    /// What the gateway may admit, where it asked and did so after all that was heard of it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ShareGrant>,
}

/// Says that no run of a gateway before this one admits anything any more, and that all they ever charged is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseLeases {
    /// The gateway.
    pub gateway_id: GatewayId,
    /// The run whose leases stay, and those of runs after it.
    pub run_id: RunId,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedLeases {
    /// Leases of earlier runs that had not ended; each is gone once its partition is folded up to where the log ended just now.
    pub leases: u64,
}
