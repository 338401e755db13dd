//! What the projector asks of a store.

mod clickhouse;
mod sqlite;

use std::collections::BTreeMap;

use async_trait::async_trait;
use rust_decimal::Decimal;
use schemas::api::{Bucket, GroupBy, UsageQuery, UsageRow, UsageTotals};
use schemas::money::USD_SCALE;
use schemas::{AccountId, Offset, PartitionId, Timestamp, Usd};
use thiserror::Error;

pub use self::clickhouse::ClickHouseStore;
pub use self::sqlite::SqliteStore;
use crate::{FactBatch, UsageMoment};

/// Why a store did not do what it was asked.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The store's position is not where the batch begins: somebody else moved it. Read it again.
    #[error("the usage store's position has moved")]
    Moved,
    /// The store can't be reached or refused. Whether a batch is in it or not, its position tells.
    #[error("{0}")]
    Unavailable(String),
}

/// What a fact's column `outcome` says of a correction, which has none.
pub(crate) const CORRECTED: &str = "corrected";

/// What totals are summed up from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// The facts.
    Event,
    /// The hourly rollups, as statistics are.
    Hour,
}

/// A store of usage facts and their hourly rollups. Facts and rollups are one: no failure leaves an event in one of
/// them only, or in either twice (I11).
///
/// The scope of an event id is its partition: an account's events are all in one.
#[async_trait]
pub trait UsageStore: Send + Sync + 'static {
    /// Where to resume: every fact of an earlier record is in the store.
    async fn position(&self, partition: PartitionId) -> Result<Offset, StoreError>;

    /// Takes the facts of a batch that begins at the store's position, or refuses it whole. Of several stores over the
    /// same data that take batches at one position, one succeeds.
    async fn insert(&self, batch: FactBatch) -> Result<(), StoreError>;

    /// The rows of a statistic, by bucket, then group in byte order. Buckets and groups without usage have no row, but
    /// with neither buckets nor groups there is always exactly one.
    async fn stats(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// Drops all of it: the position is the log's begin again. Nobody else may be inserting. Whatever moment it is cut
    /// short at, opening the store and calling it again is right.
    async fn reset(&self) -> Result<(), StoreError>;

    /// Its positions and all its sums, of one moment, for an audit: batches may come in meanwhile. May take long.
    async fn moment(&self) -> Result<UsageMoment, StoreError>;

    /// Every account's totals; `grain` says from what.
    async fn totals(&self, grain: Grain) -> Result<BTreeMap<AccountId, UsageTotals>, StoreError> {
        Ok(self.moment().await?.totals(grain))
    }
}

/// A bucket's, group's or account's sums, as a store gives them.
struct Sums {
    requests: u64,
    prompt: i64,
    cached_prompt: i64,
    completion: i64,
    reasoning: i64,
    /// 10⁻¹² USD.
    cost_pico: i128,
}

impl Sums {
    fn totals(&self) -> Result<UsageTotals, StoreError> {
        let cost_usd = Decimal::try_from_i128_with_scale(self.cost_pico, USD_SCALE)
            .ok()
            .and_then(|cost| Usd::from_decimal(cost).ok())
            .ok_or_else(|| StoreError::Unavailable(format!("a sum of {}e-12 USD is out of range", self.cost_pico)))?;
        Ok(UsageTotals {
            requests: self.requests,
            prompt_tokens: self.prompt,
            cached_prompt_tokens: self.cached_prompt,
            completion_tokens: self.completion,
            reasoning_tokens: self.reasoning,
            cost_usd,
        })
    }
}

/// The hours that a query spans, in microseconds since the epoch, the end exclusive.
fn hours(query: &UsageQuery) -> (i64, i64) {
    let micros = |bound: Option<Timestamp>| bound.map(|time| time.hour().as_micros());
    (micros(query.from).unwrap_or(i64::MIN), micros(query.to).unwrap_or(i64::MAX))
}

/// A row as [`UsageStore::stats`] promises it. `bucket` and `group` mean nothing where the query asks for none.
fn row(query: &UsageQuery, bucket: i64, group: String, sums: &Sums) -> Result<UsageRow, StoreError> {
    Ok(UsageRow {
        bucket: (query.bucket != Bucket::None).then(|| Timestamp::from_micros(bucket)),
        group: (query.group_by != GroupBy::None).then_some(group),
        totals: sums.totals()?,
    })
}
