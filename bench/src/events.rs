//! The events of a measurement: the same for the same seed, and as a gateway would write them.

use accounting::rating;
use anyhow::Context;
use schemas::catalogue::PlanTerms;
use schemas::event::{
    AccountOpenedV1, Accuracy, CreditGrantedV1, CreditSource, Funding, OUTCOME_POLICY, Outcome, UsageRecordedV2,
};
use schemas::usage::{Price, TokenCounts};
use schemas::{AccountId, Event, EventData, EventId, KeyId, LeaseId, LotId, RequestId, Timestamp, Usd};
use uuid::{Builder, Uuid};

/// Events a millisecond: how close their ids are.
const PER_MILLISECOND: u64 = 30;

/// When the first of them happened, in milliseconds since 1970.
const BEGIN: u64 = 1_795_000_000_000;

/// What every account is given, in USD.
pub(crate) const CREDIT_USD: i64 = 1_000_000;

/// Makes events, one after another.
pub(crate) struct Events {
    random: u64,
    made: u64,
}

/// An event, encoded.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) account: AccountId,
    pub(crate) payload: Vec<u8>,
    /// What it takes from its account.
    pub(crate) cost: Usd,
}

impl Events {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: seed, made: 0 }
    }

    /// The `n`th account.
    pub(crate) fn account(n: u64) -> AccountId {
        AccountId(at(BEGIN - 1_000, mixed(n), mixed(!n)))
    }

    /// What opens an account and gives it credit.
    pub(crate) fn opening(&mut self, account: AccountId) -> anyhow::Result<[Made; 2]> {
        let plan = PlanTerms {
            id: "free".into(),
            price_usd: Usd::ZERO,
            tokens_per_month: 0,
            rollover_tokens: 0,
            requests_per_minute: 10,
            max_in_flight: 2,
            max_keys: Some(2),
            trial_credit_usd: "5".parse()?,
        };
        let credit = CreditGrantedV1 {
            lot_id: LotId(self.id()),
            source: CreditSource::Promotion,
            amount_usd: CREDIT_USD.to_string().parse()?,
            priority: 100,
            reason: "measurement".into(),
        };
        let opened = self.event(account, EventData::AccountOpened(AccountOpenedV1 { plan }), Usd::ZERO)?;
        let granted = self.event(account, EventData::CreditGranted(credit), Usd::ZERO)?;
        Ok([opened, granted])
    }

    /// One request of an account.
    pub(crate) fn usage(&mut self, account: AccountId) -> anyhow::Result<Made> {
        let price = Price { input: "0.2".parse()?, cached_input: "0.02".parse()?, output: "0.3".parse()? };
        let prompt = 20 + self.below(4_000);
        let completion = 1 + self.below(900);
        let tokens =
            TokenCounts { prompt, cached_prompt: self.below(prompt), completion, reasoning: self.below(completion) };
        let cost = rating::cost(&tokens, &price).context("no cost")?;
        let ended = self.now();
        let duration_ms = 200 + self.below(5_000);
        let data = UsageRecordedV2 {
            request_id: RequestId(self.id()),
            key_id: KeyId(account.0),
            model: "deepseek-v4-flash".into(),
            upstream: "deepseek".into(),
            stream: true,
            outcome: Outcome::Completed,
            accuracy: Accuracy::Measured,
            policy: OUTCOME_POLICY,
            tokens,
            price,
            cost_usd: cost,
            started_at: Timestamp::from_micros(ended.as_micros() - i64::try_from(duration_ms)? * 1_000),
            duration_ms,
            lease_id: Some(LeaseId(self.id())),
            funding: Some(Funding { plan_tokens: 0, credit_usd: cost }),
        };
        self.event(account, EventData::UsageRecordedV2(Box::new(data)), cost)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn event(&mut self, account: AccountId, data: EventData, cost: Usd) -> anyhow::Result<Made> {
        self.made += 1;
        let (id, time) = (EventId(self.id()), self.now());
        let event = Event { id, source: "/modelhub/gateway/bench-1".into(), subject: account, time, data };
        Ok(Made { account, payload: event.encode()?, cost })
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.milliseconds() * 1_000 + self.made % 1_000).unwrap_or(0))
    }

    fn milliseconds(&self) -> u64 {
        BEGIN + self.made / PER_MILLISECOND
    }

    fn id(&mut self) -> Uuid {
        at(self.milliseconds(), self.next(), self.next())
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(1);
        mixed(self.random)
    }
}

/// `SplitMix64`'s output function: <https://prng.di.unimi.it/splitmix64.c>.
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A `UUIDv7` of this time.
fn at(milliseconds: u64, high: u64, low: u64) -> Uuid {
    let mut random = [0; 10];
    random[..2].copy_from_slice(&high.to_be_bytes()[..2]);
    random[2..].copy_from_slice(&low.to_be_bytes());
    Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
}
