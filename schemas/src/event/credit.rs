//! `credit.*` events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LotId, Timestamp, Usd};

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

/// Credit was given without a payment: a new lot, which may expire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditGrantedV2 {
    /// The lot it opens.
    pub lot_id: LotId,
    /// Why it was given.
    pub source: CreditSource,
    /// How much; above zero.
    pub amount_usd: Usd,
    /// Lots of a lower number are drawn first; of the same number, those that expire sooner.
    pub priority: u8,
    /// From when on a `credit.adjusted` may close the lot; never, where absent. Trial credit never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// For the statement, and for whoever audits.
    pub reason: String,
}

/// Credit was changed by an operator, or a lot's time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditAdjustedV1 {
    /// What was changed.
    pub change: CreditChange,
    /// For the statement, and for whoever audits.
    pub reason: String,
}

/// What a `credit.adjusted` changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CreditChange {
    /// The customer gets credit, in a lot that never expires.
    Give {
        /// The lot it opens.
        lot_id: LotId,
        /// How much; above zero.
        amount_usd: Usd,
        /// Lots of a lower number are drawn first.
        priority: u8,
    },
    /// Credit is taken back. What the account does not have any more becomes debt.
    Take {
        /// The lot to take from first, where one is meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lot_id: Option<LotId>,
        /// How much; above zero.
        amount_usd: Usd,
    },
    /// A lot is closed because its time is over: what it still holds lapses. The event's time decides, never a clock.
    Expire {
        /// The lot.
        lot_id: LotId,
    },
}
