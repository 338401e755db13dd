//! What the fold knows of one account.

use std::collections::{BTreeMap, BTreeSet};

use schemas::api::{AccountStatus, KeyUsed};
use schemas::catalogue::PlanTerms;
use schemas::event::{KeyHash, KeyLimits, UsageCharge};
use schemas::usage::Price;
use schemas::{AccountId, DisputeId, EventId, KeyId, Offset, PaymentId, Timestamp, Usd};
use serde::{Deserialize, Serialize};

use crate::payment::{Dispute, Payment};
use crate::subscription::Subscription;
use crate::{Lot, lots};

/// One account, as the log up to `version` made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountState {
    /// The account.
    pub id: AccountId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Whether it was closed, which is for ever.
    pub closed: bool,
    /// What keeps it from using the API.
    pub suspensions: BTreeSet<Suspension>,
    /// The plan's terms that are in force.
    pub plan: PlanTerms,
    /// Whether it has ever paid, which counts for the rate limit.
    pub paid: bool,
    /// Its live keys.
    pub keys: BTreeMap<KeyId, Key>,
    /// Credit lots with money left, in funding order.
    pub lots: Vec<Lot>,
    /// Credit lots ever opened.
    pub lots_opened: u64,
    /// What no lot covered. Never above zero together with a lot: new credit settles it first.
    pub debt: Usd,
    /// Its subscription with its plan tokens, where one is live.
    pub subscription: Option<Subscription>,
    /// Its payments, those of which nothing is left included: a processor may tell of one again, by another event.
    pub payments: BTreeMap<PaymentId, Payment>,
    /// Open disputes.
    pub disputes: BTreeMap<DisputeId, Dispute>,
    /// Disputes that are decided, for the same reason.
    pub decided_disputes: BTreeSet<DisputeId>,
    /// Usage that was corrected: what is charged for it now.
    pub corrections: BTreeMap<EventId, Corrected>,
    /// Invoices that were numbered in its stream: above zero in the operator's own account only.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub invoices_issued: u64,
    /// The offset of the last record applied to it, in its partition.
    pub version: Offset,
}

/// A live key of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// HMAC-SHA256 of the key under the operator's pepper.
    pub hash: KeyHash,
    /// The name its owner gave it.
    pub name: String,
    /// Its last characters, for its owner.
    pub hint: String,
    /// What it may do.
    #[serde(default, skip_serializing_if = "KeyLimits::is_none")]
    pub limits: KeyLimits,
    /// What it has used since it has had a limit of money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<KeyUsed>,
}

/// Usage that was corrected, as it is charged now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corrected {
    /// What is charged for it.
    pub charge: UsageCharge,
    /// The price that it was recorded at.
    pub price: Price,
    /// The model that it was recorded for.
    pub model: String,
}

/// Why an account may not use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspension {
    /// An operator said so.
    Operator,
    /// A dispute is open, or was lost, and the operator's rule suspends for that.
    Dispute(DisputeId),
}

impl AccountState {
    /// Whether it may use the API.
    pub fn status(&self) -> AccountStatus {
        if self.closed {
            AccountStatus::Closed
        } else if self.suspensions.is_empty() {
            AccountStatus::Active
        } else {
            AccountStatus::Suspended
        }
    }

    /// Money that may be spent, and from which leases reserve; `None` only beyond the range of exact money.
    pub fn credit(&self) -> Option<Usd> {
        lots::total(&self.lots)
    }

    /// Money left: what the lots hold less the debt; `None` only beyond the range of exact money.
    pub fn balance(&self) -> Option<Usd> {
        self.credit()?.checked_sub(self.debt)
    }

    /// Plan tokens that may be spent, and from which leases reserve.
    pub fn plan_tokens(&self) -> u64 {
        self.subscription.as_ref().map_or(0, Subscription::tokens_left)
    }

    /// Credit that open disputes hold back; `None` only beyond the range of exact money.
    pub fn frozen(&self) -> Option<Usd> {
        let mut disputes = self.disputes.values();
        disputes.try_fold(Usd::ZERO, |sum, dispute| sum.checked_add(lots::total(&dispute.frozen)?))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
