//! Rows as they cross the wire. Field names are the columns'.

use clickhouse::Row;
use schemas::PartitionId;
use schemas::money::USD_SCALE;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Fact;
use crate::store::{CORRECTED, Sums};

#[derive(Row, Serialize)]
pub(super) struct FactRow<'a> {
    log_partition: u32,
    log_offset: u64,
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    account_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    key_id: Uuid,
    model: &'a str,
    upstream: &'a str,
    stream: bool,
    outcome: &'a str,
    accuracy: &'a str,
    requests: u64,
    prompt_tokens: i64,
    cached_prompt_tokens: i64,
    completion_tokens: i64,
    reasoning_tokens: i64,
    /// `Decimal(38, 12)`: the count of 10⁻¹² USD.
    cost_usd: i128,
    started_at: i64,
    ended_at: i64,
    hour: i64,
    duration_ms: u64,
    epoch: u64,
}

impl<'a> FactRow<'a> {
    pub(super) fn new(partition: PartitionId, epoch: u64, fact: &'a Fact) -> Self {
        let mut cost = fact.charged.as_decimal();
        cost.rescale(USD_SCALE);
        let request = fact.request.as_ref();
        Self {
            log_partition: partition.0,
            log_offset: fact.offset.0,
            event_id: fact.event_id.0,
            account_id: fact.account_id.0,
            key_id: fact.key_id.0,
            model: &fact.model,
            upstream: request.map_or("", |request| &request.upstream),
            stream: request.is_some_and(|request| request.stream),
            outcome: request.map_or(CORRECTED, |request| request.outcome.as_str()),
            accuracy: request.map_or("", |request| request.accuracy.as_str()),
            requests: fact.requests(),
            prompt_tokens: fact.tokens.prompt,
            cached_prompt_tokens: fact.tokens.cached_prompt,
            completion_tokens: fact.tokens.completion,
            reasoning_tokens: fact.tokens.reasoning,
            cost_usd: cost.mantissa(),
            started_at: request.map_or(fact.time, |request| request.started_at).as_micros(),
            ended_at: fact.time.as_micros(),
            hour: fact.time.hour().as_micros(),
            duration_ms: request.map_or(0, |request| request.duration_ms),
            epoch,
        }
    }
}

#[derive(Row, Deserialize)]
pub(super) struct Id {
    #[serde(with = "clickhouse::serde::uuid")]
    pub(super) id: Uuid,
}

#[derive(Row, Deserialize)]
pub(super) struct StatsRow {
    pub(super) bucket: i64,
    pub(super) name: String,
    requests: u64,
    prompt: i64,
    cached_prompt: i64,
    completion: i64,
    reasoning: i64,
    cost: i128,
}

#[derive(Row, Deserialize)]
pub(super) struct GroupRow {
    pub(super) fact: u8,
    pub(super) log_partition: u32,
    pub(super) last: u64,
    #[serde(with = "clickhouse::serde::uuid")]
    pub(super) account: Uuid,
    pub(super) hour: i64,
    #[serde(with = "clickhouse::serde::uuid")]
    pub(super) key: Uuid,
    pub(super) model_id: String,
    pub(super) ended: String,
    requests: u64,
    prompt: i64,
    cached_prompt: i64,
    completion: i64,
    reasoning: i64,
    cost: i128,
}

macro_rules! with_sums {
    ($($row:ty),+) => {$(
        impl $row {
            pub(super) fn sums(&self) -> Sums {
                Sums {
                    requests: self.requests,
                    prompt: self.prompt,
                    cached_prompt: self.cached_prompt,
                    completion: self.completion,
                    reasoning: self.reasoning,
                    cost_pico: self.cost,
                }
            }
        }
    )+};
}

with_sums!(StatsRow, GroupRow);
