//! Accounts, keys and balances.

use serde::{Deserialize, Serialize};

use super::SubscriptionView;
use crate::catalogue::PlanTerms;
use crate::event::{CreditSource, KeyHash, KeyLimits};
use crate::{AccountId, KeyId, LotId, Month, Position, Timestamp, Usd};

/// Whether an account may use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It may.
    Active,
    /// Not now: an operator or an open dispute took its access away.
    Suspended,
    /// Never again.
    Closed,
}

impl AccountStatus {
    /// Its name in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
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
    /// Plan tokens left, in all lots.
    #[serde(default)]
    pub plan_tokens: u64,
    /// Whether it has ever paid, which counts for the rate limit.
    #[serde(default)]
    pub paid: bool,
    /// Its subscription, where one is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionView>,
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
    /// What it may do.
    #[serde(default, skip_serializing_if = "KeyLimits::is_none")]
    pub limits: KeyLimits,
    /// What it has used, as of the account's version; counted where it has a limit of money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<KeyUsed>,
    /// The account it draws on.
    pub account: AccountView,
}

/// What a key has used of late, at list price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyUsed {
    /// The latest day on which it was used, in days (UTC) since 1970-01-01.
    pub day: i64,
    /// What it used on that day.
    pub usd_in_day: Usd,
    /// That day's month.
    pub month: Month,
    /// What it used in that month.
    pub usd_in_month: Usd,
    /// What it used since it has had a limit of money. It only grows.
    pub usd_in_total: Usd,
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
    /// What it may do.
    #[serde(default, skip_serializing_if = "KeyLimits::is_none")]
    pub limits: KeyLimits,
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
    /// What no lot covered; the next credit settles it first.
    pub debt_usd: Usd,
    /// Credit that open disputes hold back.
    #[serde(default)]
    pub frozen_usd: Usd,
    /// Credit lots with money left, in the order in which they are drawn.
    pub lots: Vec<LotView>,
    /// Its subscription with its plan tokens, where one is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionView>,
    /// Plan tokens left, lot by lot, in the order in which they are drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_lots: Vec<TokenLotView>,
    /// The last record of the log that this includes.
    pub version: Position,
}

/// A credit lot with money left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotView {
    /// The lot.
    pub lot_id: LotId,
    /// Where it came from.
    pub source: LotSource,
    /// What it held at first.
    pub amount_usd: Usd,
    /// What it holds now.
    pub remaining_usd: Usd,
    /// From when on it may be closed; never, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A lot of plan tokens with tokens left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLotView {
    /// The lot.
    pub lot_id: LotId,
    /// What it held at first.
    pub granted: u64,
    /// What it holds now.
    pub remaining: u64,
    /// Whether it rolled over from an earlier period; it lapses when this one ends.
    pub rolled_over: bool,
}

/// Where a credit lot came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotSource {
    /// The one-time credit of a verified e-mail.
    Trial,
    /// Given by the operator.
    Promotion,
    /// Paid for.
    Purchase,
    /// The unused part of a plan's price.
    UnusedPlan,
    /// Usage that was charged wrongly.
    Correction,
    /// Given by an operator to put something right.
    Adjustment,
}

impl LotSource {
    /// Its name in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Promotion => "promotion",
            Self::Purchase => "purchase",
            Self::UnusedPlan => "unused_plan",
            Self::Correction => "correction",
            Self::Adjustment => "adjustment",
        }
    }
}

impl From<CreditSource> for LotSource {
    fn from(source: CreditSource) -> Self {
        match source {
            CreditSource::Trial => Self::Trial,
            CreditSource::Promotion => Self::Promotion,
        }
    }
}
