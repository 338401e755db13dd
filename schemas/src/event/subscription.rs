//! `subscription.*` events. A period is closed by the event that says so, never by a clock, and names the period it
//! closes: whoever closes it a second time is told so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::PlanTerms;
use crate::{LotId, PaymentId, SubscriptionId, Timestamp, Usd};

/// A time span of a subscription: `start` belongs to it, `end` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

/// What a subscription's periods are counted from: months from here, by the customer's calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BillingAnchor {
    /// The first moment of the first period. Its local day of the month is the day on which periods begin; months that
    /// lack that day begin on their last one.
    pub at: Timestamp,
    /// The customer's time, in minutes ahead of UTC: -840 to 840.
    pub utc_offset_minutes: i16,
}

/// A subscription began: its first period is open, its price is charged, its tokens are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionStartedV1 {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The plan's terms as they were: price, quota, rollover.
    pub plan: PlanTerms,
    /// The first period.
    pub period: Period,
    /// What its periods are counted from.
    pub anchor: BillingAnchor,
    /// The lot of the period's tokens.
    pub token_lot_id: LotId,
    /// The payment whose credit pays first, where one was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<PaymentId>,
}

/// A subscription was changed, at once (an upgrade) or for the end of its period (a downgrade, an end).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionChangedV1 {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// What was changed.
    pub change: SubscriptionChange,
}

/// What a `subscription.changed` changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionChange {
    /// Another plan takes over now, with a period of its own.
    AtOnce(Box<PlanSwitch>),
    /// The next renewal will bring this plan.
    AtPeriodEnd(PlanTerms),
    /// There will be no renewal.
    EndAtPeriodEnd,
    /// The next renewal will bring what there is now, whatever was decided before.
    StayAsItIs,
}

/// A plan that takes over in the middle of a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanSwitch {
    /// The period that ends here.
    pub closes: Period,
    /// What its unused part comes back from.
    pub unused: UnusedCredit,
    /// The new plan's terms as they were.
    pub plan: PlanTerms,
    /// The new period. It starts when the old one ends: the moment of the change.
    pub period: Period,
    /// What periods are counted from, from now on.
    pub anchor: BillingAnchor,
    /// The lot of the new period's tokens.
    pub token_lot_id: LotId,
    /// The payment whose credit pays first, where one was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<PaymentId>,
}

/// How the unused part of a period's price comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnusedCredit {
    /// The price of the whole period.
    pub price_usd: Usd,
    /// The lot that the unused part opens, where there is any.
    pub lot_id: LotId,
    /// The priority of that lot.
    pub priority: u8,
}

/// A period ended and the next one began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionRenewedV1 {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The period that ends here.
    pub closes: Period,
    /// The terms of the next one. Unused tokens roll over by the terms of the period that ends.
    pub plan: PlanTerms,
    /// The next period; it starts where the other one ends.
    pub period: Period,
    /// The lot of its tokens.
    pub token_lot_id: LotId,
    /// The payment whose credit pays first, where one was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<PaymentId>,
}

/// A period's end came, but the price of the next one was not paid. The period stays open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionPastDueV1 {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The period that should have ended.
    pub period: Period,
    /// What is due.
    pub due_usd: Usd,
    /// Until when the plan stays usable.
    pub grace_until: Timestamp,
}

/// A subscription ended, and its period with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionCanceledV1 {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The period that ends here.
    pub closes: Period,
    /// The moment it ends.
    pub at: Timestamp,
    /// How the unused part of its price comes back, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused: Option<UnusedCredit>,
    /// The terms that the account has from now on.
    pub plan_after: PlanTerms,
    /// For whoever audits.
    pub reason: String,
}
