//! `usage.*` events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::usage::{Price, TokenCounts};
use crate::{EventId, KeyId, LeaseId, LotId, RequestId, Timestamp, Usd};

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

/// The one terminal event of an admitted request (I10), by a gateway that spends from a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageRecordedV2 {
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
    /// All of `tokens` at `price`, exact, whoever covers them. The ledger rates it again and quarantines an event that
    /// disagrees.
    pub cost_usd: Usd,
    /// When the gateway admitted the request.
    pub started_at: Timestamp,
    /// From admission to the end, in milliseconds.
    pub duration_ms: u64,
    /// The lease it was admitted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// How the gateway funded it. Of a request on a lease, no more plan tokens are used than this says: the lease has set
    /// them aside, and has set no others aside. Without a lease it says nothing that the ledger heeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub funding: Option<Funding>,
}

/// What covered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Funding {
    /// Tokens that the plan covered.
    pub plan_tokens: u64,
    /// The list price of all others, charged to credit or left as debt.
    pub credit_usd: Usd,
}

/// An earlier `usage.recorded` was wrong. The fact stays; this one puts its consequences right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageCorrectedV1 {
    /// The `usage.recorded` event that was wrong.
    pub usage_event_id: EventId,
    /// Its request.
    pub request_id: RequestId,
    /// The key it came with.
    pub key_id: KeyId,
    /// The catalogue's model id.
    pub model: String,
    /// The unit prices it was rated at.
    pub price: Price,
    /// What is charged for it up to now: as its statement entry says, or as the correction before this one left it.
    pub before: UsageCharge,
    /// What should have been charged for.
    pub tokens: TokenCounts,
    /// The lot that money given back opens.
    pub lot_id: LotId,
    /// The priority of that lot.
    pub priority: u8,
    /// For the statement, and for whoever audits.
    pub reason: String,
}

/// What one request's tokens took from its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageCharge {
    /// The tokens.
    pub tokens: TokenCounts,
    /// What covered them.
    pub funding: Funding,
}

/// What both versions of `usage.recorded` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage<'a> {
    /// The request.
    pub request_id: RequestId,
    /// The key it came with.
    pub key_id: KeyId,
    /// The catalogue's model id.
    pub model: &'a str,
    /// The upstream that answered.
    pub upstream: &'a str,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose count it is.
    pub accuracy: Accuracy,
    /// What is charged for.
    pub tokens: TokenCounts,
    /// The unit prices it was rated at.
    pub price: Price,
    /// All of `tokens` at `price`.
    pub cost_usd: Usd,
    /// When the gateway admitted the request.
    pub started_at: Timestamp,
    /// From admission to the end, in milliseconds.
    pub duration_ms: u64,
    /// The lease it was admitted on.
    pub lease_id: Option<LeaseId>,
    /// How the gateway funded it from that lease.
    pub funding: Option<Funding>,
}

impl UsageRecordedV1 {
    /// What every version says.
    pub fn usage(&self) -> Usage<'_> {
        Usage {
            request_id: self.request_id,
            key_id: self.key_id,
            model: &self.model,
            upstream: &self.upstream,
            stream: self.stream,
            outcome: self.outcome,
            accuracy: self.accuracy,
            tokens: self.tokens,
            price: self.price,
            cost_usd: self.cost_usd,
            started_at: self.started_at,
            duration_ms: self.duration_ms,
            lease_id: None,
            funding: None,
        }
    }
}

impl UsageRecordedV2 {
    /// What every version says.
    pub fn usage(&self) -> Usage<'_> {
        Usage {
            request_id: self.request_id,
            key_id: self.key_id,
            model: &self.model,
            upstream: &self.upstream,
            stream: self.stream,
            outcome: self.outcome,
            accuracy: self.accuracy,
            tokens: self.tokens,
            price: self.price,
            cost_usd: self.cost_usd,
            started_at: self.started_at,
            duration_ms: self.duration_ms,
            lease_id: self.lease_id,
            funding: self.funding,
        }
    }
}
