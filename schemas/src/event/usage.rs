//! `usage.*` events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::usage::{Price, TokenCounts};
use crate::{KeyId, RequestId, Timestamp, Usd};

/// The version of the outcome policy (what is charged for each [`Outcome`]) that this build applies.
pub const OUTCOME_POLICY: u32 = 1;

/// How an admitted request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The upstream's answer ended by itself: charged as measured.
    Completed,
    /// The client went away: not charged before dispatch; after it, prompt and delivered output.
    ClientGone,
    /// The upstream failed: not charged before the first token; after it, delivered output.
    UpstreamFailed,
    /// Output was cut at the hold: charged up to the hold.
    Cut,
}

impl Outcome {
    /// Its name in events, tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientGone => "client_gone",
            Self::UpstreamFailed => "upstream_failed",
            Self::Cut => "cut",
        }
    }
}

/// Whose count a charge rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accuracy {
    /// The upstream's own usage.
    Measured,
    /// A local count, never above the hold.
    Estimated,
}

impl Accuracy {
    /// Its name in events, tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Estimated => "estimated",
        }
    }
}

/// The one terminal event of an admitted request (I10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageRecordedV1 {
    /// The request, as in the gateway's logs and the answer's `x-request-id`.
    pub request_id: RequestId,
    /// The key it came with.
    pub key_id: KeyId,
    /// The catalogue's model id.
    pub model: String,
    /// The upstream that answered, by its name in the configuration.
    pub upstream: String,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose count it is.
    pub accuracy: Accuracy,
    /// The version of the outcome policy applied.
    pub policy: u32,
    /// What is charged for.
    pub tokens: TokenCounts,
    /// The unit prices it was rated at.
    pub price: Price,
    /// `tokens` at `price`, exact. The ledger rates it again and quarantines an event that disagrees.
    pub cost_usd: Usd,
    /// When the gateway admitted the request.
    pub started_at: Timestamp,
    /// From admission to the end, in milliseconds.
    pub duration_ms: u64,
}
