//! What the stores must answer, computed the slow and plain way.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use schemas::api::{Bucket, GroupBy, UsageQuery, UsageRow, UsageTotals};
use schemas::{AccountId, PartitionId, Timestamp, Usd};
use uuid::Uuid;

use super::requests::Request;

/// All requests that count, and what corrections changed of them.
#[derive(Default)]
pub(super) struct Model {
    seen: BTreeSet<(PartitionId, u128)>,
    counted: Vec<Counted>,
}

/// What counts.
#[derive(Clone, Debug)]
pub(super) enum Counted {
    Request(Request),
    /// The first request was corrected to what the second one is, at the second one's time.
    Correction {
        id: u128,
        of: Request,
        to: Request,
    },
}

impl Counted {
    fn id(&self) -> u128 {
        match self {
            Self::Request(request) => request.id,
            Self::Correction { id, .. } => *id,
        }
    }

    /// Whose it is and when it counts; a correction keeps key and model.
    fn request(&self) -> &Request {
        match self {
            Self::Request(request) | Self::Correction { to: request, .. } => request,
        }
    }
}

impl Model {
    /// A request's event was read from the log.
    pub(super) fn read(&mut self, partition: PartitionId, request: &Request) {
        self.take(partition, &Counted::Request(request.clone()));
    }

    /// An event was read from the log.
    pub(super) fn take(&mut self, partition: PartitionId, counted: &Counted) {
        if self.seen.insert((partition, counted.id())) {
            self.counted.push(counted.clone());
        }
    }

    pub(super) fn totals(&self) -> BTreeMap<AccountId, UsageTotals> {
        let mut sums = BTreeMap::<_, Sums>::new();
        for counted in &self.counted {
            sums.entry(AccountId(Uuid::from_u128(counted.request().account))).or_default().add(counted);
        }
        sums.into_iter().map(|(account, sums)| (account, sums.totals())).collect()
    }

    pub(super) fn stats(&self, query: &UsageQuery) -> Vec<UsageRow> {
        let mut rows = BTreeMap::<_, Sums>::new();
        if (query.bucket, query.group_by) == (Bucket::None, GroupBy::None) {
            rows.insert((None, None), Sums::default());
        }
        for counted in &self.counted {
            let request = counted.request();
            if request.account != query.account_id.0.as_u128() {
                continue;
            }
            let time = Timestamp::from_micros(request.at);
            if query.from.is_some_and(|from| time.hour() < from.hour())
                || query.to.is_some_and(|to| time.hour() >= to.hour())
            {
                continue;
            }
            let bucket = match query.bucket {
                Bucket::None => None,
                Bucket::Hour => Some(time.hour()),
                Bucket::Day => Some(time.day()),
            };
            let group = match query.group_by {
                GroupBy::None => None,
                GroupBy::Model => Some(request.model.clone()),
                GroupBy::Key => Some(Uuid::from_u128(request.key).to_string()),
            };
            rows.entry((bucket, group)).or_default().add(counted);
        }
        rows.into_iter().map(|((bucket, group), sums)| UsageRow { bucket, group, totals: sums.totals() }).collect()
    }
}

/// Requests, prompt, cached prompt, completion, reasoning, 10⁻¹² USD.
#[derive(Default)]
struct Sums([i128; 6]);

impl Sums {
    fn add(&mut self, counted: &Counted) {
        match counted {
            Counted::Request(request) => self.add_times(1, request),
            Counted::Correction { of, to, .. } => {
                self.add_times(1, to);
                self.add_times(-1, of);
            }
        }
    }

    fn add_times(&mut self, times: i128, request: &Request) {
        let tokens = request.tokens;
        let counts = [1, tokens.prompt, tokens.cached_prompt, tokens.completion, tokens.reasoning].map(i128::from);
        for (sum, count) in self.0.iter_mut().zip(counts.into_iter().chain([request.pico()])) {
            *sum += times * count;
        }
    }

    fn totals(&self) -> UsageTotals {
        let [requests, prompt, cached_prompt, completion, reasoning, pico] = self.0;
        let count = |sum: i128| i64::try_from(sum).unwrap();
        UsageTotals {
            requests: u64::try_from(requests).unwrap(),
            prompt_tokens: count(prompt),
            cached_prompt_tokens: count(cached_prompt),
            completion_tokens: count(completion),
            reasoning_tokens: count(reasoning),
            cost_usd: Usd::from_decimal(Decimal::from_i128_with_scale(pico, 12)).unwrap(),
        }
    }
}
