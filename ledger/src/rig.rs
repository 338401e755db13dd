//! What the tests of service and port stand on: an embedded log and store in a temporary folder, and a running sink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eventlog::embedded::EmbeddedLog;
use eventlog::{AppendError, Batch, Bounds, EventLog, LogError, Record, Sink};
use schemas::catalogue::{Catalogue, PlanTerms};
use schemas::config::Secret;
use schemas::event::{Accuracy, Funding, OUTCOME_POLICY, Outcome, UsageRecordedV1, UsageRecordedV2};
use schemas::usage::{Price, TokenCounts};
use schemas::{
    AccountId, Event, EventData, EventId, KeyId, LeaseId, Offset, PartitionId, Position, RequestId, Timestamp,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::{APPLY_TIMEOUT, Feed, Ledger, LedgerSink, Outside, Parts, SqliteStore, Store};

pub(crate) const PEPPER: &str = "a pepper";

pub(crate) struct Rig {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: Arc<FaultyLog>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) clock: Arc<Fixed>,
    stop: CancellationToken,
    folding: TaskTracker,
    _folder: TempDir,
}

/// How a rig differs from the usual one.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// Whether a sink runs.
    pub(crate) sink: bool,
    /// Whether that is in the service's process, as it were.
    pub(crate) same_process: bool,
    pub(crate) apply_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { sink: true, same_process: true, apply_timeout: APPLY_TIMEOUT }
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let folder = TempDir::new().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.db"), 3).await.unwrap();
        let log = Arc::new(FaultyLog { log, left: AtomicI64::new(i64::MAX), lose_answer: AtomicI64::new(-1) });
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("ledger.db")).await.unwrap());
        let (feed, stop) = (Arc::new(Feed::default()), CancellationToken::new());
        let folding = TaskTracker::new();
        if options.sink {
            let told = if options.same_process { Arc::clone(&feed) } else { Arc::default() };
            let sink = Arc::new(LedgerSink::new(Arc::clone(&store), told, log.partitions()));
            let (log, stop) = (Arc::clone(&log), stop.clone());
            folding.spawn(async move { log.run("ledger", sink, stop).await.unwrap() });
        }
        folding.close();
        let clock = Arc::new(Fixed::default());
        let ledger = Arc::new(Ledger::new(Parts {
            store: Arc::clone(&store),
            log: Arc::clone(&log) as Arc<dyn EventLog>,
            feed: Arc::clone(&feed),
            catalogue: catalogue(),
            pepper: Secret::new(PEPPER.into()),
            outside: Arc::clone(&clock) as Arc<dyn Outside>,
            apply_timeout: options.apply_timeout,
            lease_ttl: crate::LEASE_TTL,
        }));
        Self { ledger, store, log, feed, clock, stop, folding, _folder: folder }
    }

    /// The time that it will be.
    pub(crate) fn now_and(&self, later: Duration) -> Timestamp {
        Timestamp::from_micros(self.clock.now().as_micros() + i64::try_from(later.as_micros()).unwrap())
    }

    /// Ends the sink, after what it is applying.
    pub(crate) async fn stop_folding(&self) {
        self.stop.cancel();
        self.folding.wait().await;
    }

    /// Another process's ledger on the same store and log, as it were.
    pub(crate) fn another_ledger(&self) -> Arc<Ledger> {
        self.another_ledger_with(catalogue())
    }

    /// A ledger on the same store and another log: the wrong one, or one that lost its records.
    pub(crate) fn ledger_of(&self, log: Arc<dyn EventLog>) -> Ledger {
        Ledger::new(Parts {
            store: Arc::clone(&self.store),
            log,
            feed: Arc::default(),
            catalogue: catalogue(),
            pepper: Secret::new(PEPPER.into()),
            outside: Arc::clone(&self.clock) as Arc<dyn Outside>,
            apply_timeout: APPLY_TIMEOUT,
            lease_ttl: crate::LEASE_TTL,
        })
    }

    /// The same with other plans on sale.
    pub(crate) fn another_ledger_with(&self, catalogue: Catalogue) -> Arc<Ledger> {
        Arc::new(Ledger::new(Parts {
            store: Arc::clone(&self.store),
            log: Arc::clone(&self.log) as Arc<dyn EventLog>,
            feed: Arc::default(),
            catalogue,
            pepper: Secret::new(PEPPER.into()),
            outside: Arc::clone(&self.clock) as Arc<dyn Outside>,
            apply_timeout: APPLY_TIMEOUT,
            lease_ttl: crate::LEASE_TTL,
        }))
    }

    /// Appends the usage of a request that was admitted on a lease, at 1 USD a token, and returns when it is applied.
    pub(crate) async fn used_on(&self, lease: LeaseId, account: AccountId, id: u128, completion: u64) {
        let unit = || "1000000".parse().unwrap();
        let cost_usd = completion.to_string().parse().unwrap();
        let usage = UsageRecordedV2 {
            request_id: RequestId(Uuid::from_u128(id)),
            key_id: KeyId(Uuid::nil()),
            model: "m".into(),
            upstream: "u".into(),
            stream: false,
            outcome: Outcome::Completed,
            accuracy: Accuracy::Measured,
            policy: OUTCOME_POLICY,
            tokens: TokenCounts { completion, ..TokenCounts::default() },
            price: Price { input: unit(), cached_input: unit(), output: unit() },
            cost_usd,
            started_at: self.clock.now(),
            duration_ms: 1,
            lease_id: Some(lease),
            funding: Some(Funding { plan_tokens: 0, credit_usd: cost_usd }),
        };
        self.tell(account, EventId(Uuid::from_u128(id)), EventData::UsageRecordedV2(Box::new(usage))).await;
    }

    /// Appends an event and returns when it is applied.
    async fn tell(&self, subject: AccountId, id: EventId, data: EventData) {
        let event = Event { id, source: "/test".into(), subject, time: self.clock.now(), data };
        let record = Record { key: subject, payload: event.encode().unwrap().into() };
        self.log.append(record).await.unwrap();
        self.ledger.catch_up().await.unwrap();
    }

    /// Appends the usage of a request, at 1 USD a token, and returns when it is applied.
    pub(crate) async fn used(&self, account: AccountId, id: u128, prompt: u64, completion: u64) -> EventId {
        let id = EventId(Uuid::from_u128(id));
        let unit = || "1000000".parse().unwrap();
        let tokens = TokenCounts { prompt, completion, ..TokenCounts::default() };
        let usage = UsageRecordedV1 {
            request_id: RequestId(id.0),
            key_id: KeyId(Uuid::nil()),
            model: "m".into(),
            upstream: "u".into(),
            stream: false,
            outcome: Outcome::Completed,
            accuracy: Accuracy::Measured,
            policy: OUTCOME_POLICY,
            tokens,
            price: Price { input: unit(), cached_input: unit(), output: unit() },
            cost_usd: (prompt + completion).to_string().parse().unwrap(),
            started_at: self.clock.now(),
            duration_ms: 1,
        };
        self.tell(account, id, EventData::UsageRecorded(Box::new(usage))).await;
        id
    }

    /// The types of all events in the log, in order of partition and offset, and their bytes.
    pub(crate) async fn logged(&self) -> (Vec<&'static str>, String) {
        let (mut types, mut bytes) = (vec![], String::new());
        for partition in (0..self.log.partitions()).map(PartitionId) {
            let batch = self.log.read(partition, Offset(0), Bounds::default()).await.unwrap();
            for record in batch.records {
                types.push(Event::decode(&record.payload).unwrap().data.event_type());
                bytes.push_str(std::str::from_utf8(&record.payload).unwrap());
            }
        }
        (types, bytes)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn catalogue() -> Catalogue {
    let plan = |id: &str, max_keys, trial: &str, price: &str, tokens| PlanTerms {
        id: id.into(),
        price_usd: price.parse().unwrap(),
        tokens_per_month: tokens,
        rollover_tokens: tokens,
        requests_per_minute: 10,
        max_in_flight: 2,
        max_keys,
        trial_credit_usd: trial.parse().unwrap(),
    };
    let plans = [
        plan("backpack", None, "0", "15", 1_000),
        plan("free", Some(2), "5", "0", 0),
        plan("launch", None, "0", "65", 5_000),
        plan("paid", None, "0", "0", 0),
    ];
    Catalogue {
        plans: plans.map(|plan| (plan.id.clone(), plan)).into(),
        models: BTreeMap::new(),
        paid_requests_per_minute: 100,
    }
}

/// Time stands still unless it is moved, and randomness counts.
pub(crate) struct Fixed {
    now: AtomicI64,
    random: AtomicU64,
}

impl Default for Fixed {
    fn default() -> Self {
        Self { now: AtomicI64::new(1_800_000_000_000_000), random: AtomicU64::new(0) }
    }
}

impl Fixed {
    /// Moves time.
    pub(crate) fn set(&self, now: Timestamp) {
        self.now.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        self.now.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Outside for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::SeqCst))
    }

    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let count = self.random.fetch_add(1, Ordering::Relaxed);
            let scattered = count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(&scattered[..chunk.len()]);
        }
    }
}

/// A log that can fail an append, before or after it is there.
pub(crate) struct FaultyLog {
    log: EmbeddedLog,
    left: AtomicI64,
    lose_answer: AtomicI64,
}

impl FaultyLog {
    /// Lets this many appends through and fails all others.
    pub(crate) fn fail_after(&self, appends: i64) {
        self.left.store(appends, Ordering::SeqCst);
    }

    /// Lets this many appends through, loses the answer to the one after them, and then works again.
    pub(crate) fn lose_answer_after(&self, appends: i64) {
        self.lose_answer.store(appends, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.left.store(i64::MAX, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventLog for FaultyLog {
    fn partitions(&self) -> u32 {
        self.log.partitions()
    }

    async fn append(&self, record: Record) -> Result<Position, AppendError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(AppendError::Unavailable("it is away".into()));
        }
        let position = self.log.append(record).await?;
        if self.lose_answer.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(AppendError::Unavailable("the answer is lost".into()));
        }
        Ok(position)
    }

    async fn end(&self, partition: PartitionId) -> Result<Offset, LogError> {
        self.log.end(partition).await
    }

    async fn read(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Result<Batch, LogError> {
        self.log.read(partition, from, bounds).await
    }

    async fn run(&self, group: &str, sink: Arc<dyn Sink>, stop: CancellationToken) -> Result<(), LogError> {
        self.log.run(group, sink, stop).await
    }
}
