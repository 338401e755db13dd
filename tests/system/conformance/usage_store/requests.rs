//! Records of a log for the projector.

use std::collections::BTreeMap;
use std::sync::Arc;

use accounting::rating;
use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{Batch, StoredRecord};
use projector::{Postings, PostingsUnavailable, ProjectorSink, UsageStore};
use rust_decimal::Decimal;
use schemas::event::{Accuracy, Funding, Outcome, UsageCharge, UsageCorrectedV1, UsageRecordedV1};
use schemas::usage::Price;
use schemas::{
    AccountId, Event, EventData, EventId, KeyId, LotId, Offset, PartitionId, RequestId, Timestamp, TokenCounts, Usd,
};
use uuid::Uuid;

/// A metered request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: u128,
    pub(super) account: u128,
    pub(super) key: u128,
    pub(super) model: String,
    /// Microseconds since the epoch.
    pub(super) at: i64,
    pub(super) tokens: TokenCounts,
    /// Input, cached input and output, in 10⁻⁶ USD per 1,000,000 tokens.
    pub(super) prices: [u64; 3],
}

impl Request {
    /// 10 + 10 tokens of account 1 at 0.20 and 0.30: 0.000005 USD.
    pub(super) fn new(id: u128, at: &str) -> Self {
        Self {
            id,
            account: 1,
            key: 11,
            model: "flash".to_owned(),
            at: at.parse::<Timestamp>().unwrap().as_micros(),
            tokens: TokenCounts { prompt: 10, cached_prompt: 0, completion: 10, reasoning: 0 },
            prices: [200_000, 20_000, 300_000],
        }
    }

    /// Of another account.
    pub(super) fn of(mut self, account: u128) -> Self {
        self.account = account;
        self
    }

    /// With another key and model.
    pub(super) fn with(mut self, key: u128, model: &str) -> Self {
        self.key = key;
        model.clone_into(&mut self.model);
        self
    }

    /// With `prompt` tokens, and nothing else, at `price`.
    pub(super) fn charging(mut self, prompt: u64, price: u64) -> Self {
        self.tokens = TokenCounts { prompt, ..TokenCounts::default() };
        self.prices = [price, 0, 0];
        self
    }

    /// Its cost in 10⁻¹² USD.
    pub(super) fn pico(&self) -> i128 {
        let [input, cached_input, output] = self.prices.map(i128::from);
        let [prompt, cached, completion] =
            [self.tokens.prompt, self.tokens.cached_prompt, self.tokens.completion].map(i128::from);
        (prompt - cached) * input + cached * cached_input + completion * output
    }

    /// Its event, and the event's record.
    pub(super) fn event(&self) -> Event {
        self.event_that_states(self.pico())
    }

    /// An event that states another cost than its own.
    pub(super) fn lie(&self) -> Event {
        self.event_that_states(self.pico() + 1)
    }

    /// A correction of it, which counts at `at`: to what `other` has.
    pub(super) fn correction(&self, id: u128, at: i64, other: &Self) -> Event {
        let Event { source, subject, .. } = self.event();
        let credit_usd = Usd::from_decimal(Decimal::from_i128_with_scale(self.pico(), 12)).unwrap();
        let data = UsageCorrectedV1 {
            usage_event_id: EventId(Uuid::from_u128(self.id)),
            request_id: RequestId(Uuid::from_u128(self.id)),
            key_id: KeyId(Uuid::from_u128(self.key)),
            model: self.model.clone(),
            price: self.price(),
            before: UsageCharge { tokens: self.tokens, funding: Funding { plan_tokens: 0, credit_usd } },
            tokens: other.tokens,
            lot_id: LotId(Uuid::from_u128(id)),
            priority: 100,
            reason: "r".to_owned(),
        };
        let (id, time) = (EventId(Uuid::from_u128(id)), Timestamp::from_micros(at));
        Event { id, source, subject, time, data: EventData::UsageCorrected(Box::new(data)) }
    }

    fn price(&self) -> Price {
        let price = |micro: u64| Decimal::from(micro) / Decimal::from(1_000_000);
        let [input, cached_input, output] = self.prices.map(|micro| price(micro).to_string().parse().unwrap());
        Price { input, cached_input, output }
    }

    fn event_that_states(&self, pico: i128) -> Event {
        let time = Timestamp::from_micros(self.at);
        Event {
            id: EventId(Uuid::from_u128(self.id)),
            source: "/modelhub/gateway/test".to_owned(),
            subject: AccountId(Uuid::from_u128(self.account)),
            time,
            data: EventData::UsageRecorded(Box::new(UsageRecordedV1 {
                request_id: RequestId(Uuid::from_u128(self.id)),
                key_id: KeyId(Uuid::from_u128(self.key)),
                model: self.model.clone(),
                upstream: "demo".to_owned(),
                stream: true,
                outcome: Outcome::Completed,
                accuracy: Accuracy::Measured,
                policy: 1,
                tokens: self.tokens,
                price: self.price(),
                cost_usd: Usd::from_decimal(Decimal::from_i128_with_scale(pico, 12)).unwrap(),
                started_at: time,
                duration_ms: 5,
            })),
        }
    }
}

/// The only partition of a small test's log.
pub(super) const PARTITION: PartitionId = PartitionId(0);

/// A partition's record.
pub(super) fn record(event: &Event) -> Bytes {
    event.encode().unwrap().into()
}

/// `log` from `from` on, at most `records` of it.
pub(super) fn batch(partition: PartitionId, log: &[Bytes], from: Offset, records: usize) -> Batch {
    let first = usize::try_from(from.0).unwrap();
    let payloads = log.iter().skip(first).take(records).cloned();
    let records: Vec<_> =
        payloads.zip(from.0..).map(|(payload, offset)| StoredRecord { offset: Offset(offset), payload }).collect();
    Batch { partition, from, next: Offset(from.0 + records.len() as u64), records }
}

/// What a ledger says of a batch, by the events alone: every account is open and nobody has a plan. Repeats are left to the
/// store.
pub(super) struct Rated {
    /// Partitions of the log.
    pub(super) partitions: u32,
}

impl Rated {
    fn amount(&self, partition: PartitionId, payload: &[u8]) -> Option<Usd> {
        let event = Event::decode(payload).ok()?;
        let at_home = eventlog::partition::of(event.subject, self.partitions) == partition;
        let amount = match &event.data {
            EventData::UsageCorrected(data) => {
                let now = rating::cost(&data.tokens, &data.price)?;
                data.before.funding.credit_usd.checked_sub(now)?
            }
            data => {
                let usage = data.usage()?;
                let rated = rating::cost(&usage.tokens, &usage.price).filter(|rated| *rated == usage.cost_usd)?;
                let keepable = !usage.model.contains('\0') && !usage.upstream.contains('\0');
                keepable.then(|| rated.negated())?
            }
        };
        at_home.then_some(amount)
    }
}

#[async_trait]
impl Postings for Rated {
    async fn amounts(&self, batch: &Batch) -> Result<BTreeMap<Offset, Usd>, PostingsUnavailable> {
        let amount = |record: &StoredRecord| Some((record.offset, self.amount(batch.partition, &record.payload)?));
        Ok(batch.records.iter().filter_map(amount).collect())
    }
}

/// The projector over a log of `partitions` partitions.
pub(super) fn sink_of(store: &Arc<dyn UsageStore>, partitions: u32) -> ProjectorSink {
    ProjectorSink::new(Arc::clone(store), Arc::new(Rated { partitions }))
}
