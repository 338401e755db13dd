//! `credit.*` events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LotId, Usd};

/// Where a credit lot came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CreditSource {
    /// The one-time credit of a verified e-mail. Never expires.
    Trial,
    /// Given by the operator.
    Promotion,
}

impl CreditSource {
    /// Its name in events, tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Promotion => "promotion",
        }
    }
}

/// Credit was given without a payment: a new lot, which never expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditGrantedV1 {
    /// The lot it opens.
    pub lot_id: LotId,
    /// Why it was given.
    pub source: CreditSource,
    /// How much; above zero.
    pub amount_usd: Usd,
    /// Lots of a lower number are drawn first.
    pub priority: u8,
    /// For the statement, and for whoever audits.
    pub reason: String,
}
