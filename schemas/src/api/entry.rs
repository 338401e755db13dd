//! What a statement's entries say.

use serde::{Deserialize, Serialize};

use crate::event::{Accuracy, DisputeOutcome, Outcome, Period, UsageCharge};
use crate::usage::TokenCounts;
use crate::{DisputeId, EventId, KeyId, LotId, PaymentId, RequestId, SubscriptionId, Timestamp, Usd};

/// What a statement entry was about. Whatever moves money or plan tokens has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum EntryDetail {
    /// A credit lot was opened.
    #[serde(rename = "credit.granted")]
    Credit {
        /// The lot.
        lot_id: LotId,
        /// Why.
        reason: String,
        /// From when on it may be closed; never, where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// An operator gave or took credit, or a lot's time was over.
    #[serde(rename = "credit.adjusted")]
    Adjustment {
        /// What was done.
        kind: AdjustmentKind,
        /// The lot that was opened, taken from first or closed, where one was named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lot_id: Option<LotId>,
        /// Why.
        reason: String,
    },
    /// A request was charged.
    #[serde(rename = "usage.recorded")]
    Usage {
        /// The request.
        request_id: RequestId,
        /// The key it came with.
        key_id: KeyId,
        /// The model.
        model: String,
        /// How it ended.
        outcome: Outcome,
        /// Whose count it is.
        accuracy: Accuracy,
        /// What was charged for.
        tokens: TokenCounts,
        /// Those of them that the plan covered. The entry's amount is the list price of all others.
        #[serde(default, skip_serializing_if = "is_zero")]
        plan_tokens: u64,
    },
    /// An earlier charge was put right.
    #[serde(rename = "usage.corrected")]
    Correction(Box<CorrectionEntry>),
    /// The customer paid.
    #[serde(rename = "payment.succeeded")]
    Payment {
        /// The payment.
        payment_id: PaymentId,
        /// Who took it.
        processor: String,
        /// The lot it opened.
        lot_id: LotId,
    },
    /// The customer was paid back.
    #[serde(rename = "payment.refunded")]
    Refund {
        /// The payment.
        payment_id: PaymentId,
        /// Who paid back.
        processor: String,
        /// Why.
        reason: String,
    },
    /// A payment is disputed.
    #[serde(rename = "payment.disputed")]
    Dispute {
        /// The dispute.
        dispute_id: DisputeId,
        /// The payment.
        payment_id: PaymentId,
        /// What is disputed. The entry's amount is what of it was there to be frozen.
        disputed_usd: Usd,
    },
    /// A dispute was decided.
    #[serde(rename = "payment.dispute_closed")]
    DisputeClosed {
        /// The dispute.
        dispute_id: DisputeId,
        /// The payment.
        payment_id: PaymentId,
        /// How it ended.
        outcome: DisputeOutcome,
    },
    /// A period of a plan was opened, closed, or both.
    #[serde(rename = "subscription")]
    Plan(Box<PlanEntry>),
}

/// How a charge was put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrectionEntry {
    /// The event that was wrong.
    pub usage_event_id: EventId,
    /// Its request.
    pub request_id: RequestId,
    /// The key it came with.
    pub key_id: KeyId,
    /// The model.
    pub model: String,
    /// What was charged before.
    pub before: UsageCharge,
    /// What is charged now.
    pub after: UsageCharge,
    /// Why.
    pub reason: String,
}

/// What an operator did to credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustmentKind {
    /// Gave some.
    Given,
    /// Took some.
    Taken,
    /// Closed a lot whose time was over.
    Expired,
}

/// A change of a subscription's period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEntry {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// What happened to it.
    pub kind: PlanEntryKind,
    /// The period that was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedPeriod>,
    /// The period that was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<OpenedPeriod>,
}

/// What happened to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanEntryKind {
    /// It began.
    Started,
    /// Another plan took over in the middle of a period.
    Changed,
    /// The next period began.
    Renewed,
    /// It ended.
    Canceled,
}

/// How a period ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedPeriod {
    /// The plan's id.
    pub plan: String,
    /// The period, as it was sold.
    pub period: Period,
    /// The unused part of its price, which came back as credit.
    pub unused_usd: Usd,
    /// Tokens that carry into the next period.
    pub carried_tokens: u64,
    /// Tokens that lapsed.
    pub lapsed_tokens: u64,
}

/// How a period began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedPeriod {
    /// The plan's id.
    pub plan: String,
    /// The period.
    pub period: Period,
    /// Its price.
    pub price_usd: Usd,
    /// Its tokens.
    pub granted_tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
