//! What a usage store should hold, from a replay of the log that tells how each record ended in the ledger.

use std::collections::BTreeMap;

use accounting::{Entry, Outcome};
use schemas::api::UsageTotals;
use schemas::{AccountId, Offset, PartitionId, Usd};

use crate::{Fact, Grain, StoreError, UsageStore};

/// How often totals are read again where batches came in meanwhile.
const TRIES: u32 = 20;

/// A usage store's positions and totals, of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageMoment {
    /// Where each partition would be resumed.
    pub positions: BTreeMap<PartitionId, Offset>,
    /// Every account's totals, from the facts.
    pub facts: BTreeMap<AccountId, UsageTotals>,
    /// The same, from the rollups.
    pub rollups: BTreeMap<AccountId, UsageTotals>,
}

impl UsageMoment {
    /// Reads them, until no batch came in between.
    ///
    /// # Errors
    /// The store can't be read, or is written faster than it can be read.
    pub async fn of(store: &dyn UsageStore, partitions: u32) -> Result<Self, StoreError> {
        let mut before = positions(store, partitions).await?;
        for _ in 0..TRIES {
            let (facts, rollups) = (store.totals(Grain::Event).await?, store.totals(Grain::Hour).await?);
            let after = positions(store, partitions).await?;
            if before == after {
                return Ok(Self { positions: after, facts, rollups });
            }
            before = after;
        }
        Err(StoreError::Unavailable(format!("the usage store moved on during each of {TRIES} reads; try again later")))
    }
}

async fn positions(store: &dyn UsageStore, partitions: u32) -> Result<BTreeMap<PartitionId, Offset>, StoreError> {
    let mut positions = BTreeMap::new();
    for partition in (0..partitions).map(PartitionId) {
        positions.insert(partition, store.position(partition).await?);
    }
    Ok(positions)
}

/// Every account's totals, as a replay of the log gives them up to a store's positions.
#[derive(Debug, Default)]
pub struct UsageReplay {
    positions: BTreeMap<PartitionId, Offset>,
    totals: BTreeMap<AccountId, UsageTotals>,
}

impl UsageReplay {
    /// A replay up to these positions.
    pub fn up_to(positions: BTreeMap<PartitionId, Offset>) -> Self {
        Self { positions, ..Self::default() }
    }

    /// The next record of its partition. What posts counts, at what it was charged.
    pub fn entry(&mut self, partition: PartitionId, entry: &Entry) {
        if self.positions.get(&partition).is_none_or(|position| entry.offset >= *position) {
            return;
        }
        let (Some(event), Outcome::Applied(posting)) = (&entry.event, &entry.outcome) else { return };
        let Some(fact) = Fact::of(entry.offset, event, posting.amount) else { return };
        add(self.totals.entry(fact.account_id).or_default(), &fact);
    }

    /// What was counted.
    pub fn totals(&self) -> &BTreeMap<AccountId, UsageTotals> {
        &self.totals
    }
}

fn add(totals: &mut UsageTotals, fact: &Fact) {
    totals.requests += fact.requests();
    totals.prompt_tokens += fact.tokens.prompt;
    totals.cached_prompt_tokens += fact.tokens.cached_prompt;
    totals.completion_tokens += fact.tokens.completion;
    totals.reasoning_tokens += fact.tokens.reasoning;
    // Beyond what a sum may be, a store has no total either.
    totals.cost_usd = totals.cost_usd.checked_add(fact.charged).unwrap_or(Usd::ZERO);
}
