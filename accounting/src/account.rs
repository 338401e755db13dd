//! What the fold knows of one account.

use std::collections::BTreeMap;

use schemas::api::AccountStatus;
use schemas::catalogue::PlanTerms;
use schemas::event::KeyHash;
use schemas::{AccountId, KeyId, Offset, Timestamp, Usd};

use crate::Lot;

/// One account, as the log up to `version` made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// The account.
    pub id: AccountId,
    /// Whether it may use the API.
    pub status: AccountStatus,
    /// Its plan's terms.
    pub plan: PlanTerms,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Its live keys.
    pub keys: BTreeMap<KeyId, Key>,
    /// Lots with money left, in funding order.
    pub lots: Vec<Lot>,
    /// Lots ever opened.
    pub lots_opened: u64,
    /// Usage that no lot covered. Never above zero together with a lot: new credit settles it first.
    pub debt: Usd,
    /// The offset of the last record applied to it, in its partition.
    pub version: Offset,
}

/// A live key of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// HMAC-SHA256 of the key under the operator's pepper.
    pub hash: KeyHash,
    /// The name its owner gave it.
    pub name: String,
    /// Its last characters, for its owner.
    pub hint: String,
}

impl AccountState {
    /// Money left: what the lots hold less the debt; `None` only beyond the range of exact money.
    pub fn balance(&self) -> Option<Usd> {
        let credit = self.lots.iter().try_fold(Usd::ZERO, |sum, lot| sum.checked_add(lot.remaining))?;
        credit.checked_sub(self.debt)
    }
}
