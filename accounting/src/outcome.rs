//! How applying an event ends (I3): never in a panic, never in an error.

use schemas::api::EntryDetail;
use schemas::{KeyId, LotId, Usd};

use crate::Transfer;

/// How applying one event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is posted.
    Applied(Posting),
    /// Its id is posted already; nothing changed.
    Duplicate,
    /// It can't post; nothing changed, and the record is kept for the operator to look at.
    Quarantined(Reason),
}

/// What an applied event did to its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The money it moved; none for events about keys and the like.
    pub transfers: Vec<Transfer>,
    /// What the balance changed by.
    pub amount: Usd,
    /// The balance after it.
    pub balance: Usd,
    /// The statement's entry; none where the event does not concern money.
    pub detail: Option<EntryDetail>,
}

/// Why an event can't post. Its text names what is wrong; `code` is for tables and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The record is not an event that this build knows.
    Undecodable(String),
    /// The event's account belongs to another partition. Its states are kept there, and nowhere else.
    Misrouted,
    /// A text holds U+0000, which not every store can keep.
    NulCharacter {
        /// Which text.
        field: &'static str,
    },
    /// The account was never opened.
    UnknownAccount,
    /// The account is open already, by another event.
    AlreadyOpen,
    /// The key exists already, by another event.
    KeyExists(KeyId),
    /// The lot exists already, by another event.
    LotExists(LotId),
    /// An amount that must be above zero is not.
    AmountNotPositive(Usd),
    /// An amount, or the balance it leads to, is beyond what is kept exactly.
    OutOfRange,
    /// Token counts contradict each other, or are beyond plausible.
    InconsistentTokens,
    /// The event's cost is not its tokens at its price.
    CostMismatch {
        /// As the event states it.
        stated: Usd,
        /// As rated from its own tokens and price.
        rated: Usd,
    },
}

impl Reason {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Undecodable(_) => "undecodable",
            Self::Misrouted => "misrouted",
            Self::NulCharacter { .. } => "nul_character",
            Self::UnknownAccount => "unknown_account",
            Self::AlreadyOpen => "already_open",
            Self::KeyExists(_) => "key_exists",
            Self::LotExists(_) => "lot_exists",
            Self::AmountNotPositive(_) => "amount_not_positive",
            Self::OutOfRange => "out_of_range",
            Self::InconsistentTokens => "inconsistent_tokens",
            Self::CostMismatch { .. } => "cost_mismatch",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Undecodable(detail) => write!(f, "undecodable: {detail}"),
            Self::Misrouted => f.write_str("the event's account belongs to another partition"),
            Self::NulCharacter { field } => write!(f, "{field} holds the character U+0000"),
            Self::UnknownAccount => f.write_str("the account was never opened"),
            Self::AlreadyOpen => f.write_str("the account is open already, by another event"),
            Self::KeyExists(key) => write!(f, "key {key} exists already, by another event"),
            Self::LotExists(lot) => write!(f, "lot {lot} exists already, by another event"),
            Self::AmountNotPositive(amount) => write!(f, "the amount {amount} is not above zero"),
            Self::OutOfRange => write!(f, "an amount or the balance would be beyond {} USD", schemas::money::MAX_USD),
            Self::InconsistentTokens => f.write_str("token counts contradict each other or are beyond plausible"),
            Self::CostMismatch { stated, rated } => {
                write!(f, "cost {stated} is stated, but the tokens at the event's own price cost {rated}")
            }
        }
    }
}
