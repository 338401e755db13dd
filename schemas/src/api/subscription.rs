//! What a customer or a gateway sees of a subscription.

use serde::{Deserialize, Serialize};

use crate::event::{BillingAnchor, Period};
use crate::{SubscriptionId, Timestamp};

/// A live subscription. Its plan is the account's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionView {
    /// The subscription.
    pub subscription_id: SubscriptionId,
    /// The period that is open: until its closing event comes, whatever the clock says.
    pub period: Period,
    /// What periods are counted from.
    pub anchor: BillingAnchor,
    /// Whether its price is paid.
    pub standing: Standing,
    /// What the end of the period brings.
    pub at_period_end: AtPeriodEnd,
}

/// Whether a subscription's price is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Standing {
    /// It is.
    Active,
    /// The next period's is not.
    PastDue {
        /// Until when the plan stays usable.
        grace_until: Timestamp,
    },
}

/// What the end of a period brings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtPeriodEnd {
    /// A renewal of what there is.
    Renew,
    /// A renewal with another plan.
    Change {
        /// The plan's id.
        plan: String,
    },
    /// The end of the subscription.
    End,
}
