//! What the fold remembers of payments and disputes, so that no more is paid back than was paid.

use schemas::{LotId, PaymentId, Usd};
use serde::{Deserialize, Serialize};

use crate::Lot;

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Who took it.
    pub processor: String,
    /// The credit lot that it opened.
    pub lot: LotId,
    /// What of it can still be refunded or disputed: the payment less refunds, open disputes and lost ones. Zero once that
    /// is all of it.
    pub left: Usd,
}

/// An open dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// The payment that it is about.
    pub payment: PaymentId,
    /// The lot that the payment opened.
    pub lot: LotId,
    /// Who took the payment, and holds the money back now.
    pub processor: String,
    /// What is disputed.
    pub amount: Usd,
    /// What of it was there to be frozen: parts of lots, which go back to where they were if the dispute is won.
    pub frozen: Vec<Lot>,
}
