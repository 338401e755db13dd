//! What an operator, a checkout or a payment processor's notice does to an account. A command is answered when the ledger
//! has applied its event. Where it may be repeated, the repeat is the same event and has the same answer.

use serde::{Deserialize, Serialize};

use crate::event::{DisputeOutcome, KeyLimits};
use crate::{EventId, KeyId, LotId, Usd};

/// A change of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Takes the access to the API away. Money stays as it is. Nothing happens where an operator did so already.
    Suspend {
        /// For whoever audits; no personal data.
        reason: String,
    },
    /// Gives the access back, whatever had taken it away.
    Reinstate {
        /// For whoever audits; no personal data.
        reason: String,
    },
    /// Closes the account for good: its keys die with it, and its subscription ends with its period.
    CloseAccount {
        /// For whoever audits; no personal data.
        reason: String,
    },
    /// Gives a live key another name, other limits, or both.
    UpdateKey {
        /// The key.
        key_id: KeyId,
        /// Its new name; as it is, where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Its new limits, all of them; as they are, where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limits: Option<KeyLimits>,
    },
    /// Revokes a live key for good.
    RevokeKey {
        /// The key.
        key_id: KeyId,
        /// For whoever audits.
        reason: String,
    },
    /// Gives or takes credit to put something right, or closes a lot whose time is over.
    AdjustCredit {
        /// What to change.
        adjustment: Adjustment,
        /// For the statement, and for whoever audits.
        reason: String,
        /// Makes a repeated command the same adjustment; a fresh one each time, where absent.
        #[serde(default)]
        idempotency_key: Option<String>,
    },
    /// Puts the charge of one request right.
    CorrectUsage {
        /// The `usage.recorded` event, as the statement names it.
        usage_event_id: EventId,
        /// What should have been charged for.
        tokens: CorrectedTokens,
        /// For the statement, and for whoever audits.
        reason: String,
        /// Makes a repeated command the same correction.
        #[serde(default)]
        idempotency_key: Option<String>,
    },
    /// A processor took a payment.
    RecordPayment {
        /// What identifies it.
        payment: OutsideId,
        /// What the customer paid; above zero, two decimals.
        amount_usd: Usd,
        /// What the processor keeps of it, where it says so.
        #[serde(default)]
        fee_usd: Option<Usd>,
    },
    /// A processor paid all or part of a payment back.
    Refund {
        /// The payment.
        payment: OutsideId,
        /// The processor's own id of the refund: a repeat is the same refund.
        refund_id: String,
        /// What was paid back; above zero, two decimals.
        amount_usd: Usd,
        /// What the processor charges for it, where it does.
        #[serde(default)]
        fee_usd: Option<Usd>,
        /// For the statement, and for whoever audits.
        reason: String,
    },
    /// A customer's bank disputes a payment.
    OpenDispute {
        /// The payment.
        payment: OutsideId,
        /// The processor's own id of the dispute.
        dispute_id: String,
        /// What is disputed; above zero, two decimals.
        amount_usd: Usd,
        /// What the processor charges for it, where it does.
        #[serde(default)]
        fee_usd: Option<Usd>,
        /// Whether the account is suspended while the dispute is open.
        suspend: bool,
        /// The processor's code for why.
        reason: String,
    },
    /// A dispute was decided.
    CloseDispute {
        /// What identifies it.
        dispute: OutsideId,
        /// How it ended.
        outcome: DisputeOutcome,
        /// Whether the suspension that it had brought ends.
        reinstate: bool,
    },
    /// Starts a subscription to a plan of the catalogue. Its price is charged to credit, which has to cover it.
    Subscribe {
        /// The plan's id.
        plan: String,
        /// The payment whose credit pays first, where one was made for it.
        #[serde(default)]
        payment: Option<OutsideId>,
        /// The customer's time, in minutes ahead of UTC: at which midnight months begin.
        #[serde(default)]
        utc_offset_minutes: i16,
        /// Makes a repeated command the same subscription.
        #[serde(default)]
        idempotency_key: Option<String>,
    },
    /// Puts the subscription on another plan of the catalogue. At the period's end with the plan that it has already: it stays
    /// as it is, whatever was decided before.
    ChangePlan {
        /// The plan's id.
        plan: String,
        /// When; where absent, a dearer plan takes over now, and any other at the period's end.
        #[serde(default)]
        when: Option<When>,
        /// The payment whose credit pays first, where one was made for it.
        #[serde(default)]
        payment: Option<OutsideId>,
        /// Makes a repeated command the same change.
        #[serde(default)]
        idempotency_key: Option<String>,
    },
    /// Ends the subscription.
    CancelSubscription {
        /// When.
        when: When,
        /// Whether the unused part of the price comes back as credit; only where it ends now.
        #[serde(default)]
        give_back_unused: bool,
        /// For whoever audits.
        reason: String,
    },
}

/// What `adjust_credit` does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Adjustment {
    /// Gives credit, in a lot that never expires.
    Give {
        /// How much; above zero.
        amount_usd: Usd,
    },
    /// Takes credit. What the account does not have any more becomes debt.
    Take {
        /// How much; above zero.
        amount_usd: Usd,
        /// The lot to take from first, where one is meant.
        #[serde(default)]
        lot_id: Option<LotId>,
    },
    /// Closes a lot whose time is over: what it still holds lapses.
    Expire {
        /// The lot.
        lot_id: LotId,
    },
}

/// Token counts of a corrected request; those that are absent stay as they were charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the same counts as in TokenCounts, where each is described")]
pub struct CorrectedTokens {
    pub prompt: Option<u64>,
    pub cached_prompt: Option<u64>,
    pub completion: Option<u64>,
    pub reasoning: Option<u64>,
}

/// What a payment processor calls a payment or a dispute. Every id of ours for it is derived from this, so whatever is told
/// twice happens once, on one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideId {
    /// The processor's name: letters, digits, `-` and `_`.
    pub processor: String,
    /// Its own id.
    pub id: String,
}

/// When a change of a subscription takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once.
    Now,
    /// When the open period ends.
    PeriodEnd,
}

/// What a command led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The event that did it; absent where there was nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// What the balance changed by.
    pub amount_usd: Usd,
    /// The balance with it.
    pub balance_usd: Usd,
}

/// A live key, as its owner may see it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The key's id.
    pub key_id: KeyId,
    /// The name its owner gave it.
    pub name: String,
    /// Its last characters.
    pub hint: String,
    /// What it may do.
    #[serde(default, skip_serializing_if = "KeyLimits::is_none")]
    pub limits: KeyLimits,
}
