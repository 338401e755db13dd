//! The usage store's part of an audit.

use std::time::{Duration, Instant};

use anyhow::Result;
use ledger::audit::{Finding, Report, Section, UsageLag, Watch, nothing_applied};
use ledger::{Snapshot, Store};
use projector::{UsageGroup, UsageMoment, UsageReplay, UsageSums};
use schemas::api::UsageTotals;
use schemas::config::Config;
use schemas::{Offset, PartitionId};
use tokio::time::sleep;

use crate::stores;

/// How long the ledger may take to get where the usage store is.
const CATCH_UP: Duration = Duration::from_secs(30);

/// How long it may stand still on the way.
const STANDSTILL: Duration = Duration::from_secs(5);

/// What the usage store holds, beside the ledger's replay of what it should.
pub(super) enum Usage {
    /// Nobody asked.
    LeftOut,
    /// It can't be compared; why.
    Not(String),
    Compared {
        stored: UsageMoment,
        replayed: UsageReplay,
    },
}

impl Usage {
    pub(super) fn left_out() -> Self {
        Self::LeftOut
    }

    /// What the store holds now.
    pub(super) async fn of(config: &Config) -> Self {
        let stored = async { anyhow::Ok(stores::usage_as_is(config).await?.moment().await?) };
        match stored.await {
            Ok(stored) => Self::Compared { replayed: UsageReplay::up_to(stored.positions.clone()), stored },
            Err(error) => Self::Not(format!("{error:#}")),
        }
    }

    /// A snapshot of the ledger's store that is not behind the usage store, so that a replay up to it covers both. Where
    /// it stays behind, usage is not compared.
    pub(super) async fn wait_for(&mut self, store: &dyn Store) -> Result<Box<dyn Snapshot>> {
        let (begun, mut moved, mut last) = (Instant::now(), Instant::now(), None);
        loop {
            let mut snapshot = store.snapshot().await?;
            let Self::Compared { stored, .. } = self else { return Ok(snapshot) };
            let heads = snapshot.heads().await?;
            let applied = |partition| heads.get(partition).map_or(Offset(0), |head| head.next);
            let behind = stored.positions.iter().find(|(partition, position)| applied(partition) < **position);
            let Some((partition, position)) = behind else { return Ok(snapshot) };
            if last.as_ref() != Some(&heads) {
                (moved, last) = (Instant::now(), Some(heads.clone()));
            }
            if begun.elapsed() > CATCH_UP || moved.elapsed() > STANDSTILL {
                *self = Self::Not(format!(
                    "the usage store is at {partition}:{position}, and the ledger's at {partition}:{}; start the ledger, or \
                     `modelhub rebuild usage`",
                    applied(partition)
                ));
                return Ok(snapshot);
            }
            drop(snapshot);
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Adds to the report what the ledger's replay has shown of usage.
    pub(super) fn compare(&self, report: &mut Report) {
        let not = |why: &str| Finding::of(format!("usage was not compared: {why}"));
        let (stored, replayed) = match self {
            Self::LeftOut => return,
            Self::Not(why) => return report.differs(Section::UsageStore, not(why)),
            Self::Compared { .. } if !report.is_whole() => {
                return report.differs(Section::UsageStore, not("the log could not be read to its end"));
            }
            Self::Compared { stored, replayed } => (stored, replayed),
        };
        let partitions: Vec<(PartitionId, Offset)> =
            report.partitions.iter().map(|(id, replayed)| (*id, replayed.applied)).collect();
        for (partition, applied) in partitions {
            let position = stored.positions.get(&partition).copied().unwrap_or_default();
            let waiting = replayed.waiting(partition);
            report.compared(Section::UsageStore, 1);
            report.usage(partition, UsageLag { position, waiting });
            if position == Offset(0) && waiting > 0 {
                report.differs(Section::UsageStore, nothing_applied("usage", partition, applied));
            }
        }
        groups(Section::UsageFacts, replayed.facts(), &stored.facts, report);
        groups(Section::UsageRollups, &replayed.rollups(), &stored.rollups, report);
    }
}

impl Watch for Usage {
    fn entry(&mut self, partition: PartitionId, entry: &accounting::Entry) {
        if let Self::Compared { replayed, .. } = self {
            replayed.entry(partition, entry);
        }
    }
}

fn groups(section: Section, log: &UsageSums, database: &UsageSums, report: &mut Report) {
    let mut groups: Vec<&UsageGroup> = log.keys().chain(database.keys()).collect();
    groups.sort_unstable();
    groups.dedup();
    report.compared(section, groups.len() as u64);
    for group in groups {
        let (ours, theirs) = (log.get(group), database.get(group));
        if ours != theirs {
            let text = |totals: Option<&UsageTotals>| {
                let text = totals.map(|totals| serde_json::to_string(totals).unwrap_or_default());
                text.unwrap_or_else(|| "none".to_owned())
            };
            report.differs(section, Finding::of_account(group.account, name(group), text(ours), text(theirs)));
        }
    }
}

fn name(group: &UsageGroup) -> String {
    let UsageGroup { hour, key, model, outcome, .. } = group;
    let ended = outcome.as_ref().map_or(String::new(), |outcome| format!(", {outcome:?}"));
    format!("usage of {model:?} with key {key} in the hour from {hour}{ended}")
}
