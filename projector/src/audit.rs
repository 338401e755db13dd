//! What a usage store should hold, from a replay of the log that tells how each record ended in the ledger.

use std::collections::BTreeMap;

use accounting::{Entry, Outcome};
use schemas::api::UsageTotals;
use schemas::{AccountId, KeyId, Offset, PartitionId, Timestamp, Usd};

use crate::store::CORRECTED;
use crate::{Fact, Grain};

/// What usage is summed up by: the rollups' own grain, and for facts how requests ended, too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageGroup {
    /// Whose usage.
    pub account: AccountId,
    /// The hour of the event's time.
    pub hour: Timestamp,
    /// The key the requests came with.
    pub key: KeyId,
    /// The catalogue's model id.
    pub model: String,
    /// How the requests ended, or that these are corrections; none in rollups, which do not tell.
    pub outcome: Option<String>,
}

/// Sums by group.
pub type UsageSums = BTreeMap<UsageGroup, UsageTotals>;

/// A usage store's positions and sums, of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageMoment {
    /// Where each partition would be resumed; none where nothing of it is held.
    pub positions: BTreeMap<PartitionId, Offset>,
    /// Sums of the facts.
    pub facts: UsageSums,
    /// Sums of the rollups.
    pub rollups: UsageSums,
}

impl UsageMoment {
    /// Every account's totals.
    pub fn totals(&self, grain: Grain) -> BTreeMap<AccountId, UsageTotals> {
        let sums = match grain {
            Grain::Event => &self.facts,
            Grain::Hour => &self.rollups,
        };
        let mut totals = BTreeMap::<_, UsageTotals>::new();
        for (group, sum) in sums {
            add(totals.entry(group.account).or_default(), sum);
        }
        totals
    }
}

/// The sums that a replay of the log gives up to a store's positions.
#[derive(Debug, Default)]
pub struct UsageReplay {
    positions: BTreeMap<PartitionId, Offset>,
    facts: UsageSums,
    waiting: BTreeMap<PartitionId, u64>,
}

impl UsageReplay {
    /// A replay up to these positions.
    pub fn up_to(positions: BTreeMap<PartitionId, Offset>) -> Self {
        Self { positions, ..Self::default() }
    }

    /// The next record of its partition. What posts counts, at what it was charged.
    pub fn entry(&mut self, partition: PartitionId, entry: &Entry) {
        let (Some(event), Outcome::Applied(posting)) = (&entry.event, &entry.outcome) else { return };
        let Some(fact) = Fact::of(entry.offset, event, posting.amount) else { return };
        if self.positions.get(&partition).is_none_or(|position| entry.offset >= *position) {
            *self.waiting.entry(partition).or_default() += 1;
            return;
        }
        let one = UsageTotals {
            requests: fact.requests(),
            prompt_tokens: fact.tokens.prompt,
            cached_prompt_tokens: fact.tokens.cached_prompt,
            completion_tokens: fact.tokens.completion,
            reasoning_tokens: fact.tokens.reasoning,
            cost_usd: fact.charged,
        };
        let outcome = fact.request.as_ref().map_or(CORRECTED, |request| request.outcome.as_str()).to_owned();
        let group = UsageGroup {
            account: fact.account_id,
            hour: fact.time.hour(),
            key: fact.key_id,
            model: fact.model,
            outcome: Some(outcome),
        };
        add(self.facts.entry(group).or_default(), &one);
    }

    /// What the facts should add up to.
    pub fn facts(&self) -> &UsageSums {
        &self.facts
    }

    /// What the rollups should be.
    pub fn rollups(&self) -> UsageSums {
        let mut rollups = UsageSums::new();
        for (group, sum) in &self.facts {
            add(rollups.entry(UsageGroup { outcome: None, ..group.clone() }).or_default(), sum);
        }
        rollups
    }

    /// Usage of a partition that is not before the store's position.
    pub fn waiting(&self, partition: PartitionId) -> u64 {
        self.waiting.get(&partition).copied().unwrap_or(0)
    }
}

pub(crate) fn add(totals: &mut UsageTotals, more: &UsageTotals) {
    totals.requests = totals.requests.saturating_add(more.requests);
    totals.prompt_tokens = totals.prompt_tokens.saturating_add(more.prompt_tokens);
    totals.cached_prompt_tokens = totals.cached_prompt_tokens.saturating_add(more.cached_prompt_tokens);
    totals.completion_tokens = totals.completion_tokens.saturating_add(more.completion_tokens);
    totals.reasoning_tokens = totals.reasoning_tokens.saturating_add(more.reasoning_tokens);
    // Beyond what a sum may be, a store has no total either.
    totals.cost_usd = totals.cost_usd.checked_add(more.cost_usd).unwrap_or(Usd::ZERO);
}
