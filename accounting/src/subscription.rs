//! What the fold knows of a live subscription.

use schemas::api::{AtPeriodEnd, Standing, SubscriptionView};
use schemas::event::{BillingAnchor, Period};
use schemas::{LotId, SubscriptionId, Usd};
use serde::{Deserialize, Serialize};

/// A live subscription. Its plan's terms are the account's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The subscription.
    pub id: SubscriptionId,
    /// The open period.
    pub period: Period,
    /// What periods are counted from.
    pub anchor: BillingAnchor,
    /// Whether its price is paid.
    pub standing: Standing,
    /// What the end of the period brings.
    pub at_period_end: AtPeriodEnd,
    /// The price of the open period: revenue once it is closed.
    pub deferred: Usd,
    /// Lots with tokens left, in the order in which they are drawn: those that rolled over, then the period's own.
    pub tokens: Vec<TokenLot>,
}

/// A lot of plan tokens. It lapses with its period, or with the next one, for what rolls over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenLot {
    /// The lot.
    pub id: LotId,
    /// What it held at first.
    pub granted: u64,
    /// What it holds now; never above `granted`.
    pub remaining: u64,
    /// Whether it rolled over from an earlier period.
    pub rolled_over: bool,
}

impl Subscription {
    /// Tokens left, in all lots.
    pub fn tokens_left(&self) -> u64 {
        self.tokens.iter().map(|lot| lot.remaining).sum()
    }

    /// What its owner sees of it.
    pub fn view(&self) -> SubscriptionView {
        SubscriptionView {
            subscription_id: self.id,
            period: self.period,
            anchor: self.anchor,
            standing: self.standing,
            at_period_end: self.at_period_end.clone(),
        }
    }
}
