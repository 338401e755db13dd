//! Accounts, keys and balances.

use serde::{Deserialize, Serialize};

use crate::catalogue::PlanTerms;
use crate::event::{CreditSource, KeyHash};
use crate::{AccountId, KeyId, LotId, Position, Usd};

/// Whether an account may use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It may.
    Active,
}

impl AccountStatus {
    /// Its name in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
        }
    }
}

/// What a gateway needs to know of an account. `version` orders views: an older one never replaces a newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// The account.
    pub account_id: AccountId,
    /// Whether it may use the API.
    pub status: AccountStatus,
    /// Its plan's terms.
    pub plan: PlanTerms,
    /// Money left: what the lots hold less any debt; below zero only in debt.
    pub balance_usd: Usd,
    /// The last record of the log that this view includes.
    pub version: Position,
}

/// A live key and its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// The key.
    pub key_id: KeyId,
    /// Its hash, which found it.
    pub hash: KeyHash,
    /// The account it draws on.
    pub account: AccountView,
}

/// Opens an account for a verified e-mail, with a first key and the plan's trial credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    /// Kept in the ledger's contacts, never in the log.
    pub email: String,
    /// The plan's id in the catalogue.
    pub plan: String,
}

/// An account that was opened. Its first key is shown here and never again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedAccount {
    /// The account.
    pub account_id: AccountId,
    /// Its first key.
    pub key: IssuedKey,
}

/// Issues a further key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueKey {
    /// The account it draws on.
    pub account_id: AccountId,
    /// A name for its owner to know it by.
    pub name: String,
}

/// A key just issued. Has no `Debug`: the secret must never reach a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedKey {
    /// The key's id.
    pub key_id: KeyId,
    /// The key itself, shown once.
    pub secret: String,
}

/// Gives credit without a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantCredit {
    /// Who gets it.
    pub account_id: AccountId,
    /// How much; above zero.
    pub amount_usd: Usd,
    /// For the statement, and for whoever audits.
    pub reason: String,
    /// Makes a repeated command the same grant; a fresh one each time, where absent.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// Credit that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The lot it opened.
    pub lot_id: LotId,
    /// The balance with it.
    pub balance_usd: Usd,
}

/// An account's balance and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The account.
    pub account_id: AccountId,
    /// Money left: the lots less the debt.
    pub balance_usd: Usd,
    /// Usage that no lot covered; the next credit settles it first.
    pub debt_usd: Usd,
    /// Credit lots with money left, in the order in which they are drawn.
    pub lots: Vec<LotView>,
    /// The last record of the log that this includes.
    pub version: Position,
}

/// A credit lot with money left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotView {
    /// The lot.
    pub lot_id: LotId,
    /// Where it came from.
    pub source: CreditSource,
    /// What it held at first.
    pub amount_usd: Usd,
    /// What it holds now.
    pub remaining_usd: Usd,
}
