//! `modelhub audit`: the log against the databases.

mod print;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ledger::Snapshot;
use ledger::audit::{self, Finding, Report, Section, Watch};
use projector::{UsageMoment, UsageReplay};
use schemas::api::UsageTotals;
use schemas::{AccountId, PartitionId};
use tokio::time::sleep;

use crate::cli::Audit;
use crate::config::Loaded;
use crate::stores;

/// How long the ledger may take to get where the usage store is.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Compares, prints, and fails where anything differs.
pub(crate) async fn run(loaded: Loaded, command: Audit) -> Result<()> {
    let config = &loaded.config;
    let log = stores::log(config).await?;
    let begun = Instant::now();
    let at = command.at.as_ref();
    let report = if command.replay_only {
        audit::audit(&log, None, at, &mut ()).await?
    } else {
        let store = stores::ledger(config).await?;
        let usage = match at {
            Some(_) => None,
            None => Some(UsageMoment::of(&*stores::usage(config).await?, log.partitions()).await?),
        };
        let snapshot = snapshot(&*store, usage.as_ref()).await?;
        let mut watch = Usage(usage.as_ref().map(|usage| UsageReplay::up_to(usage.positions.clone())));
        let mut report = audit::audit(&log, Some(snapshot), at, &mut watch).await?;
        if let (Some(stored), Some(replayed), true) = (&usage, &watch.0, report.is_whole()) {
            compare(Section::UsageFacts, replayed.totals(), &stored.facts, &mut report);
            compare(Section::UsageRollups, replayed.totals(), &stored.rollups, &mut report);
        }
        store.close().await;
        report
    };
    print::report(&report, at.is_some(), command.json, begun.elapsed())?;
    match report.differences() {
        0 => Ok(()),
        differences => bail!("{differences} differences between the log and the database"),
    }
}

/// A snapshot of the ledger's store that is not behind the usage store, so that a replay up to it covers both.
async fn snapshot(store: &dyn ledger::Store, usage: Option<&UsageMoment>) -> Result<Box<dyn Snapshot>> {
    let begun = Instant::now();
    loop {
        let mut snapshot = store.snapshot().await?;
        let heads = snapshot.heads().await?;
        let positions = usage.map(|usage| &usage.positions);
        let behind = positions.into_iter().flatten().find(|(partition, position)| {
            heads.get(partition).map_or(schemas::Offset(0), |head| head.next) < **position
        });
        let Some((partition, position)) = behind else { return Ok(snapshot) };
        if begun.elapsed() > CATCH_UP {
            bail!(
                "the usage store is at {partition}:{position}, and the ledger's is not: start the ledger, or \
                 `modelhub rebuild usage`"
            );
        }
        drop(snapshot);
        sleep(Duration::from_millis(100)).await;
    }
}

/// Counts usage along with the ledger's replay.
struct Usage(Option<UsageReplay>);

impl Watch for Usage {
    fn entry(&mut self, partition: PartitionId, entry: &accounting::Entry) {
        if let Some(replay) = &mut self.0 {
            replay.entry(partition, entry);
        }
    }
}

fn compare(
    section: Section,
    log: &BTreeMap<AccountId, UsageTotals>,
    database: &BTreeMap<AccountId, UsageTotals>,
    report: &mut Report,
) {
    let mut accounts: Vec<_> = log.keys().chain(database.keys()).copied().collect();
    accounts.sort_unstable();
    accounts.dedup();
    for account in accounts {
        report.compared(section, 1);
        let (ours, theirs) = (log.get(&account), database.get(&account));
        if ours != theirs {
            let text = |totals: Option<&UsageTotals>| {
                let text = totals.map(|totals| serde_json::to_string(totals).unwrap_or_default());
                text.unwrap_or_else(|| "none".to_owned())
            };
            report.differs(section, Finding::of_account(account, "usage", text(ours), text(theirs)));
        }
    }
}
