//! How many events a second one core replays: bytes to states, chain included, no database.
//!
//! `cargo run --release -p accounting --example replay [million events]`

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use accounting::{AccountState, ChainHash, Fold, Outcome, RecordRef, StateHash, rating};
use schemas::catalogue::PlanTerms;
use schemas::event::{
    AccountOpenedV1, Accuracy, CreditGrantedV1, CreditSource, OUTCOME_POLICY, Outcome as Ending, UsageRecordedV2,
};
use schemas::usage::{Price, TokenCounts};
use schemas::{AccountId, Event, EventData, EventId, KeyId, LotId, Offset, RequestId, Timestamp, Usd};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const BATCH: usize = 1_000;
const DISTINCT: u64 = 100_000;

fn event(account: u64, id: u64, data: EventData) -> Result<Vec<u8>, Failure> {
    let id = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0000 | u128::from(id));
    let subject = AccountId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 | u128::from(account)));
    let time = Timestamp::from_micros(1_800_000_000_123_456);
    let event = Event { id: EventId(id), source: "/modelhub/gateway/1".into(), subject, time, data };
    Ok(event.encode()?)
}

fn opening(account: u64) -> Result<[Vec<u8>; 2], Failure> {
    let plan = PlanTerms {
        id: "free".into(),
        price_usd: Usd::ZERO,
        tokens_per_month: 0,
        rollover_tokens: 0,
        requests_per_minute: 10,
        max_in_flight: 2,
        max_keys: Some(2),
        trial_credit_usd: Usd::ZERO,
    };
    let lot = CreditGrantedV1 {
        lot_id: LotId(Uuid::from_u128(u128::from(account))),
        source: CreditSource::Promotion,
        amount_usd: "5000".parse()?,
        priority: 100,
        reason: "bench".into(),
    };
    let id = 2 * account;
    Ok([
        event(account, id, EventData::AccountOpened(AccountOpenedV1 { plan }))?,
        event(account, id + 1, EventData::CreditGranted(lot))?,
    ])
}

fn usage(account: u64, number: u64) -> Result<Vec<u8>, Failure> {
    let price = Price { input: "0.2".parse()?, cached_input: "0.02".parse()?, output: "0.3".parse()? };
    let tokens = TokenCounts {
        prompt: 900 + number % 101,
        cached_prompt: number % 301,
        completion: 200 + number % 57,
        reasoning: number % 11,
    };
    let cost_usd = rating::cost(&tokens, &price).ok_or("no cost")?;
    let data = UsageRecordedV2 {
        request_id: RequestId(Uuid::from_u128(u128::from(number) << 64)),
        key_id: KeyId(Uuid::from_u128(u128::from(account) << 32)),
        model: "deepseek-v4-flash".into(),
        upstream: "deepseek".into(),
        stream: true,
        outcome: Ending::Completed,
        accuracy: Accuracy::Measured,
        policy: OUTCOME_POLICY,
        tokens,
        price,
        cost_usd,
        started_at: Timestamp::from_micros(1_800_000_000_000_000),
        duration_ms: 1234,
        lease_id: None,
        funding: None,
    };
    event(account, 1 << 32 | number, EventData::UsageRecordedV2(Box::new(data)))
}

struct Replay {
    accounts: BTreeMap<AccountId, AccountState>,
    chain: ChainHash,
    next: u64,
    applied: u64,
}

impl Replay {
    fn take(&mut self, records: &[Vec<u8>]) {
        let refs = (self.next..).zip(records).map(|(offset, payload)| RecordRef { offset: Offset(offset), payload });
        let fold = Fold::decode(refs, |_| true);
        let (entries, chain) = fold.apply_to(&mut self.accounts, BTreeSet::new(), self.chain);
        let applied = entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Applied(_))).count();
        self.applied += applied as u64;
        self.next += records.len() as u64;
        self.chain = chain;
    }
}

/// Time by the clock, and time that this thread really ran, where the system tells: other work on the machine takes from
/// the first alone.
struct Watch {
    clock: Instant,
    ran: Option<Duration>,
}

impl Watch {
    fn start() -> Self {
        Self { clock: Instant::now(), ran: ran() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate on the screen")]
    fn rate(&self, events: u64) -> String {
        let per_second = |took: Duration| events as f64 / took.as_secs_f64();
        let clock = format!("{:.0} events/s", per_second(self.clock.elapsed()));
        match (self.ran, ran()) {
            (Some(from), Some(to)) => format!("{clock}, {:.0} by processor time", per_second(to.saturating_sub(from))),
            _ => clock,
        }
    }
}

fn ran() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn run(out: &mut impl io::Write, name: &str, accounts: u64, events: u64) -> Result<(), Failure> {
    let usages = (0..DISTINCT).map(|number| usage(number % accounts, number)).collect::<Result<Vec<_>, _>>()?;
    let mut replay = Replay { accounts: BTreeMap::new(), chain: ChainHash::GENESIS, next: 0, applied: 0 };
    for account in 0..accounts {
        replay.take(&opening(account)?);
    }
    let bytes = usages.iter().map(Vec::len).sum::<usize>() / usages.len();
    let opened = replay.applied;
    let watch = Watch::start();
    for batch in usages.chunks(BATCH).cycle().take(usize::try_from(events)? / BATCH) {
        replay.take(batch);
    }
    let rate = watch.rate(events);
    let applied = replay.applied - opened;
    let hash = StateHash::of(replay.accounts.values())?;
    writeln!(out, "{name}: {rate} ({applied} of {events} applied, {bytes} bytes each), state {hash}")?;
    Ok(())
}

fn parts(out: &mut impl io::Write) -> Result<(), Failure> {
    let usages = (0..DISTINCT).map(|number| usage(1, number)).collect::<Result<Vec<_>, _>>()?;
    let watch = Watch::start();
    let decoded = usages.iter().filter(|record| Event::decode(record).is_ok()).count();
    writeln!(out, "decode alone: {}", watch.rate(decoded as u64))?;
    let watch = Watch::start();
    let chain = usages.iter().fold(ChainHash::GENESIS, |chain, record| chain.extend(Offset(1), record));
    writeln!(out, "chain alone: {} ({chain})", watch.rate(DISTINCT))?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let million: u64 = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    let mut out = io::stdout().lock();
    parts(&mut out)?;
    run(&mut out, "10,000 accounts", 10_000, million * 1_000_000)?;
    run(&mut out, "one hot account", 1, million * 1_000_000)?;
    Ok(())
}
