//! Usage statistics, as the dashboard shows them.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Offset, Timestamp, Usd};

/// By what rows are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// One row for everything.
    #[default]
    None,
    /// A row a model.
    Model,
    /// A row a key.
    Key,
}

/// By what time rows are told apart. Buckets are UTC hours and days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// One row for the whole range.
    #[default]
    None,
    /// A row an hour.
    Hour,
    /// A row a day.
    Day,
}

/// Which usage is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageQuery {
    /// Whose.
    pub account_id: AccountId,
    /// From the hour that holds this time, inclusive.
    pub from: Option<Timestamp>,
    /// To the hour that holds this time, exclusive.
    pub to: Option<Timestamp>,
    /// By what rows are told apart.
    pub group_by: GroupBy,
    /// By what time rows are told apart.
    pub bucket: Bucket,
}

/// Usage of one bucket and group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// The bucket's start; absent without buckets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Timestamp>,
    /// The model or the key id; absent without groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The sums.
    #[serde(flatten)]
    pub totals: UsageTotals,
}

/// Sums over requests and the corrections of requests, each at the time of its own event: below zero where corrections took
/// more away than the time's requests brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageTotals {
    /// Requests; a correction is none.
    pub requests: u64,
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: i64,
    /// Those read from an upstream's cache.
    pub cached_prompt_tokens: i64,
    /// Completion tokens, reasoning included.
    pub completion_tokens: i64,
    /// Those that were reasoning.
    pub reasoning_tokens: i64,
    /// What they were charged, exact: the sum of their statement entries. What a plan covered costs nothing.
    pub cost_usd: Usd,
}

/// What a posted record changed its account's balance by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedAmount {
    /// The record's place in its partition.
    pub offset: Offset,
    /// The change; below zero for a charge.
    pub amount_usd: Usd,
}
