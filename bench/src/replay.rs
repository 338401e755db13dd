//! The audit's replay: the log through the fold, without a database. Each in a process of its own, so that its memory is
//! its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use eventlog::EventLog;
use ledger::audit::audit;
use schemas::AccountId;
use tokio::process::Command;

use crate::cpu::{self, Used};
use crate::events::Events;
use crate::fill::{self, Usage};
use crate::table;

/// How long one replay may take.
const LIMIT: Duration = Duration::from_mins(5);

#[derive(Args)]
pub(crate) struct Options {
    /// Usage events in the log for each replay, after which it is filled up to the next number.
    #[arg(long, value_delimiter = ',', default_value = "1000000,3000000")]
    events: Vec<u64>,
    /// Accounts that they are spread over.
    #[arg(long, default_value_t = 10_000)]
    accounts: u64,
    /// Partitions of the log.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
}

#[derive(Args)]
pub(crate) struct Once {
    brokers: String,
    topic: String,
    partitions: u32,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let kafka = tests::kafka::start().await;
    let cluster = kafka.cluster();
    let topic = format!("{}events", cluster.topic_prefix());
    let log = fill::log(cluster.brokers(), topic.clone(), options.partitions).await?;
    let mut events = Events::new(7);
    let accounts: Vec<AccountId> = (0..options.accounts).map(Events::account).collect();
    let mut openings = Vec::new();
    for account in &accounts {
        openings.extend(events.opening(*account)?.map(Ok));
    }
    let mut filled = fill::append(&log, openings.into_iter()).await?;
    let mut usage = 0;
    let mut rows = vec![["events", "seconds", "events/s", "CPU µs", "peak memory MB"].map(str::to_owned).to_vec()];
    for wanted in &options.events {
        let more = wanted.saturating_sub(usage);
        filled += fill::append(&log, Usage::new(&mut events, &accounts, 0, more)).await?;
        usage += more;
        table::note(&format!("{filled} events are in the log; the replay starts"))?;
        let program = std::env::current_exe().context("this program's own path")?;
        let mut replay = Command::new(program);
        replay.arg("replay-once").args([cluster.brokers(), &topic, &options.partitions.to_string()]);
        let output = tokio::time::timeout(LIMIT, replay.kill_on_drop(true).output()).await.context("it is stuck")??;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "a replay failed: {}", String::from_utf8_lossy(&output.stderr));
        let row: Vec<String> = text.trim().split('\t').map(str::to_owned).collect();
        ensure!(row.first() == Some(&table::whole(table::number(filled))), "replayed {text} of {filled}");
        rows.push(row);
    }
    table::print(&rows)?;
    Ok(())
}

/// Replays the whole log, and writes its row of the table.
pub(crate) async fn once(options: &Once) -> anyhow::Result<()> {
    let log: Arc<dyn EventLog> =
        Arc::new(fill::log(&options.brokers, options.topic.clone(), options.partitions).await?);
    let (begun, before) = (Instant::now(), Used::now());
    let report = audit(&log, None, None, &mut ()).await?;
    let (took, used) = (begun.elapsed(), Used::now().since(before));
    let records = report.records();
    let row = [
        table::whole(table::number(records)),
        format!("{:.2}", took.as_secs_f64()),
        table::whole(table::rate(records, took.as_secs_f64())),
        format!("{:.2}", used.own.as_secs_f64() * 1e6 / table::number(records)),
        cpu::peak_memory().map_or("-".into(), |bytes| table::whole(table::number(bytes / 1_000_000))),
    ];
    table::print(&[vec![row.join("\t")]])?;
    Ok(())
}
