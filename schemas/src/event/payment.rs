//! `payment.*` events. Amounts have two decimals, as processors pay them. Whatever identifies a payer stays with the
//! processor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DisputeId, LotId, PaymentId, Usd};

/// A processor took a customer's payment: a credit lot, which never expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentSucceededV1 {
    /// The payment.
    pub payment_id: PaymentId,
    /// The processor that took it, by its name in the configuration.
    pub processor: String,
    /// What the customer paid; above zero, two decimals.
    pub amount_usd: Usd,
    /// What the processor keeps of it, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_usd: Option<Usd>,
    /// The credit lot it opens.
    pub lot_id: LotId,
    /// Lots of a lower number are drawn first.
    pub priority: u8,
}

/// A payment did not come through. Nothing was paid, so nothing moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentFailedV1 {
    /// The payment.
    pub payment_id: PaymentId,
    /// The processor that was asked.
    pub processor: String,
    /// What would have been paid; two decimals.
    pub amount_usd: Usd,
    /// The processor's code for why.
    pub reason: String,
}

/// A processor paid all or part of a payment back to the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentRefundedV1 {
    /// The payment.
    pub payment_id: PaymentId,
    /// The processor that took it.
    pub processor: String,
    /// What was paid back; above zero, two decimals.
    pub amount_usd: Usd,
    /// What the processor charges for it, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_usd: Option<Usd>,
    /// For the statement, and for whoever audits.
    pub reason: String,
}

/// A customer's bank disputes a payment, and the processor holds the money until that is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentDisputedV1 {
    /// The dispute.
    pub dispute_id: DisputeId,
    /// The payment it is about.
    pub payment_id: PaymentId,
    /// The processor that took it.
    pub processor: String,
    /// What is disputed; above zero, two decimals.
    pub amount_usd: Usd,
    /// What the processor charges for it, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_usd: Option<Usd>,
    /// Whether the operator's rule suspends the account while the dispute is open.
    pub suspend: bool,
    /// The processor's code for why.
    pub reason: String,
}

/// How a dispute ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisputeOutcome {
    /// The payment stands: what was frozen is released.
    Won,
    /// The customer's bank took the money back.
    Lost,
}

impl DisputeOutcome {
    /// Its name in events, tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// A dispute was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentDisputeClosedV1 {
    /// The dispute.
    pub dispute_id: DisputeId,
    /// The payment it was about.
    pub payment_id: PaymentId,
    /// How it ended.
    pub outcome: DisputeOutcome,
    /// Whether the operator's rule ends the suspension that the dispute had brought.
    pub reinstate: bool,
}
