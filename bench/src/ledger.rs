//! From a filled log to committed balances: the real consumer, sink and store, in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use clap::{Args, ValueEnum};
use eventlog::kafka::KafkaLog;
use eventlog::{Batch, EventLog, Sink, SinkError};
use ledger::{Feed, LedgerSink, PostgresStore, Store};
use schemas::{AccountId, Offset, PartitionId};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, query_scalar};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cpu::Used;
use crate::events::{CREDIT_USD, Events};
use crate::fill::{self, Usage};
use crate::{plain, table};

/// How long a run may take before it counts as stuck.
const LIMIT: Duration = Duration::from_mins(10);

/// A consumer group of the log, as the ledger's.
const GROUP: &str = "ledger";

#[derive(Args)]
pub(crate) struct Options {
    /// Usage events of each case.
    #[arg(long, default_value_t = 400_000)]
    events: u64,
    /// Accounts that they are spread over, where they are not all one's.
    #[arg(long, default_value_t = 10_000)]
    accounts: u64,
    /// Partitions of the log.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// What is measured.
    #[arg(long, value_delimiter = ',', default_value = "uniform,hot,repeats")]
    cases: Vec<Case>,
    /// Leaves out the plain COPY of the same rows.
    #[arg(long)]
    no_copy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Case {
    /// Usage spread evenly over all accounts.
    Uniform,
    /// All usage is one account's, and so in one partition.
    Hot,
    /// As `uniform`, and 5 % of the records are a repeat of one of the last 100,000 events.
    Repeats,
}

/// What a case took.
struct Measured {
    case: Case,
    events: u64,
    took: Duration,
    used: Used,
    plain: Option<(Duration, Used)>,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let (kafka, postgres) = tokio::join!(tests::kafka::start(), tests::postgres::start());
    let mut rows = vec![heading()];
    let mut rates = BTreeMap::new();
    for case in &options.cases {
        let measured = one(*case, options, &kafka, &postgres).await.with_context(|| format!("case {case:?}"))?;
        rates.insert(format!("{case:?}"), table::rate(measured.events, measured.took.as_secs_f64()));
        rows.push(measured.row());
    }
    table::print(&rows)?;
    if let (Some(hot), Some(uniform)) = (rates.get("Hot"), rates.get("Uniform")) {
        table::print(&[vec![format!("hot ÷ uniform: {:.2}", hot / uniform)]])?;
    }
    Ok(())
}

fn heading() -> Vec<String> {
    let titles = [
        "case",
        "events",
        "seconds",
        "events/s",
        "ledger µs",
        "PostgreSQL µs",
        "broker µs",
        "plain COPY/s",
        "COPY µs",
        "of COPY",
    ];
    titles.map(str::to_owned).into()
}

impl Measured {
    fn row(&self) -> Vec<String> {
        let rate = table::rate(self.events, self.took.as_secs_f64());
        let each = |used: Duration| format!("{:.1}", used.as_secs_f64() * 1e6 / table::number(self.events));
        let plain = self.plain.map(|(took, _)| table::rate(self.events, took.as_secs_f64()));
        vec![
            format!("{:?}", self.case).to_lowercase(),
            table::whole(table::number(self.events)),
            format!("{:.2}", self.took.as_secs_f64()),
            table::whole(rate),
            each(self.used.own),
            each(self.used.postgres),
            each(self.used.broker),
            plain.map_or("-".into(), table::whole),
            self.plain.map_or("-".into(), |(_, used)| each(used.postgres)),
            plain.map_or("-".into(), |plain| format!("{:.2}", rate / plain)),
        ]
    }
}

async fn one(
    case: Case,
    options: &Options,
    kafka: &tests::kafka::Server,
    postgres: &tests::postgres::Server,
) -> anyhow::Result<Measured> {
    let (cluster, database) = (kafka.cluster(), postgres.database().await);
    let topic = format!("{}events", cluster.topic_prefix());
    let log = fill::log(cluster.brokers(), topic, options.partitions).await?;
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(database.url()).await?);
    let pool = PgPoolOptions::new().max_connections(1).connect(database.url()).await?;

    let mut events = Events::new(7);
    let accounts: Vec<AccountId> =
        (0..if case == Case::Hot { 1 } else { options.accounts }).map(Events::account).collect();
    let mut openings = Vec::new();
    for account in &accounts {
        openings.extend(events.opening(*account)?.map(Ok));
    }
    fill::append(&log, openings.into_iter()).await?;
    apply(&log, &store).await?;
    let repeats = if case == Case::Repeats { 5 } else { 0 };
    let mut usage = Usage::new(&mut events, &accounts, repeats, options.events);
    let appended = fill::append(&log, &mut usage).await?;
    let (distinct, cost_pico) = (usage.distinct, usage.cost_pico);
    sqlx::query("CHECKPOINT").execute(&pool).await?;

    table::note(&format!("{case:?}: {appended} events are in the log; the ledger starts"))?;
    let (took, used) = apply(&log, &store).await?;
    table::note(&format!("{case:?}: {:.0} events/s", table::rate(appended, took.as_secs_f64())))?;
    verify(&pool, accounts.len(), distinct, cost_pico).await?;
    store.close().await;
    let plain = if options.no_copy {
        None
    } else {
        Some(plain::copy(&pool, &postgres.database().await, options.partitions).await?)
    };
    pool.close().await;
    Ok(Measured { case, events: appended, took, used, plain })
}

/// Runs a ledger until it has applied all that is in the log: from its first question for a position on.
async fn apply(log: &KafkaLog, store: &Arc<dyn Store>) -> anyhow::Result<(Duration, Used)> {
    let mut ends = BTreeMap::new();
    for partition in (0..log.partitions()).map(PartitionId) {
        ends.insert(partition, log.end(partition).await?);
    }
    let inner = LedgerSink::new(Arc::clone(store), Arc::new(Feed::default()), log.partitions());
    let sink = Arc::new(Watched { inner, begun: OnceLock::new(), applied: Mutex::default(), changed: Notify::new() });
    let stop = CancellationToken::new();
    let (running, watched) = (log.run(GROUP, Arc::clone(&sink) as Arc<dyn Sink>, stop.clone()), Arc::clone(&sink));
    let finished = async {
        while !watched.has_applied(&ends) {
            watched.changed.notified().await;
        }
        let ended = (Instant::now(), Used::now());
        stop.cancel();
        ended
    };
    let both = async { tokio::join!(running, finished) };
    let (ran, (ended, used)) = tokio::time::timeout(LIMIT, both).await.context("the ledger is stuck")?;
    ran?;
    let (begun, before) = sink.begun.get().copied().context("the ledger never asked for a position")?;
    Ok((ended - begun, used.since(before)))
}

/// A sink that tells when it began and how far it is.
struct Watched {
    inner: LedgerSink,
    begun: OnceLock<(Instant, Used)>,
    applied: Mutex<BTreeMap<PartitionId, Offset>>,
    changed: Notify,
}

impl Watched {
    fn has_applied(&self, ends: &BTreeMap<PartitionId, Offset>) -> bool {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().all(|(partition, end)| applied.get(partition).copied().unwrap_or(Offset(0)) >= *end)
    }

    fn is_at(&self, partition: PartitionId, next: Offset) {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, next);
        self.changed.notify_one();
    }
}

#[async_trait]
impl Sink for Watched {
    async fn position(&self, partition: PartitionId) -> Result<Offset, SinkError> {
        self.begun.get_or_init(|| (Instant::now(), Used::now()));
        let next = self.inner.position(partition).await?;
        self.is_at(partition, next);
        Ok(next)
    }

    async fn apply(&self, batch: Batch) -> Result<(), SinkError> {
        let (partition, next) = (batch.partition, batch.next);
        self.inner.apply(batch).await?;
        self.is_at(partition, next);
        Ok(())
    }

    async fn prepare(&self, batch: &Batch) {
        self.inner.prepare(batch).await;
    }

    fn pace(&self) -> Duration {
        self.inner.pace()
    }

    fn leave(&self, partition: PartitionId) {
        self.inner.leave(partition);
    }
}

/// What was measured is worth nothing where a balance is wrong: events, balances and double entry, to the last digit.
async fn verify(pool: &PgPool, accounts: usize, distinct: u64, cost_pico: i64) -> anyhow::Result<()> {
    let ask = async |statement: &'static str| -> anyhow::Result<i128> {
        let answer: String = query_scalar(statement).fetch_one(pool).await?;
        answer.parse().with_context(|| format!("{statement}: {answer}"))
    };
    let credit = i128::try_from(accounts)? * i128::from(CREDIT_USD) * 1_000_000_000_000;
    let expected = [
        ("postings", i128::try_from(2 * accounts)? + i128::from(distinct), "SELECT count(*)::text FROM postings"),
        (
            "balances",
            credit - i128::from(cost_pico),
            "SELECT trunc(sum(balance_usd) * 1000000000000)::text FROM accounts",
        ),
        (
            "what postings add up to",
            credit - i128::from(cost_pico),
            "SELECT trunc(sum(amount_usd) * 1000000000000)::text FROM postings",
        ),
        (
            "transfers to revenue",
            i128::from(cost_pico),
            "SELECT trunc(sum(amount) * 1000000000000)::text FROM transfers WHERE credit LIKE 'revenue:usage:%'",
        ),
    ];
    for (what, expected, statement) in expected {
        let found = ask(statement).await?;
        ensure!(found == expected, "{what}: {found} instead of {expected}");
    }
    Ok(())
}
