//! The audit (I7): replays the log through the same pure fold, without the database, and compares.
//!
//! The log is read once, from its begin to the database's position of record, in batches that are read ahead. What the
//! fold makes of a batch is compared with the rows that the database has of it, so a difference is named at its event;
//! what it makes of accounts is compared at the end. Memory holds the state of every account, and nothing that grows
//! with the number of events: see `ids` for how repeats are told apart without that.
//!
//! A record that is not the one which was applied is found by its chain: every posting keeps a tag of the partition's
//! chain right after it, and the position of record keeps the whole hash.

mod at;
mod corrections;
mod ids;
mod invoices;
mod partition;
mod reader;
mod replay;
mod report;
mod rows;
mod states;
mod totals;

use std::collections::BTreeMap;
use std::sync::Arc;

use accounting::{ChainHash, Entry};
use eventlog::{EventLog, LogError};
use schemas::{Offset, PartitionId};
use thiserror::Error;

pub use self::at::{At, NoSuchMoment, NotAMoment};
use self::partition::Partition;
use self::replay::Replay;
pub use self::report::{AccountThen, Finding, Replayed, Report, Section, UsageLag};
use self::totals::Totals;
use crate::store::snapshot::Unreadable;
use crate::store::{Head, Snapshot, StoreError};

/// Why an audit could not be carried out. What it finds is in its [`Report`].
#[derive(Debug, Error)]
pub enum AuditError {
    /// The ledger's store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log can't be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The moment that was asked for is not one of this log.
    #[error(transparent)]
    At(#[from] NoSuchMoment),
    /// A temporary file failed; they are in the folder that `TMPDIR` names.
    #[error("a temporary file of the audit (in TMPDIR, or /tmp): {0}")]
    Scratch(#[from] std::io::Error),
}

/// Sees every record that is replayed, and how it ended: for whoever compares more than the ledger's own store.
pub trait Watch: Send {
    /// The next one of its partition.
    fn entry(&mut self, partition: PartitionId, entry: &Entry);
}

impl Watch for () {
    fn entry(&mut self, _: PartitionId, _: &Entry) {}
}

/// Replays the log and compares it with a snapshot of the ledger's store; without one, replays only, to the log's end.
///
/// With `at`, the replay ends there. Rows up to there are compared, and the report holds the accounts as they were;
/// tables that hold only what is now are left out.
pub async fn audit(
    log: &Arc<dyn EventLog>,
    mut snapshot: Option<Box<dyn Snapshot>>,
    at: Option<&At>,
    watch: &mut dyn Watch,
) -> Result<Report, AuditError> {
    let mut report = Report::default();
    let mut totals = Totals::default();
    let mut states = BTreeMap::new();
    let heads = match &mut snapshot {
        Some(snapshot) => Some(snapshot.heads().await?),
        None => None,
    };
    // Of a partition whose position can't be read, nobody knows that nothing is applied.
    let unread = snapshot.as_ref().is_some_and(|snapshot| !snapshot.unreadable().is_empty());
    let mut places = BTreeMap::new();
    for partition in (0..log.partitions()).map(PartitionId) {
        let end = log.end(partition).await?;
        let head = heads.as_ref().and_then(|heads| heads.get(&partition).copied());
        let known = head.or_else(|| (heads.is_some() && !unread).then_some(Head::START));
        places.insert(partition, (known, end));
    }
    if let Some(at) = at {
        at.is_of(&places.iter().map(|(id, (head, end))| (*id, (head.map_or(*end, |head| head.next), *end))).collect())?;
    }
    for (partition, (head, end)) in places {
        let applied = head.map_or(end, |head| head.next);
        let Some(to) = At::bound(at, partition, applied) else { continue };
        if applied == Offset(0) && end > applied {
            report.differs(Section::Positions, nothing_applied("ledger's", partition, end));
        }
        let mut replay = Replay::new(partition, log.partitions(), at.and_then(At::time));
        let mut one = Partition { id: partition, snapshot: snapshot.as_mut(), report: &mut report };
        let whole = one.compare(log, to, &mut replay, &mut totals, watch).await?;
        let waiting = end.0.saturating_sub(applied.0);
        report.replayed(partition, Replayed { records: replay.records(), applied, end, waiting, usage: None });
        if let Some(head) = head.filter(|_| whole && at.is_none()) {
            chain(&mut report, partition, head, replay.chain());
        }
        if whole {
            states.append(&mut replay.into_states());
        } else {
            report.cut_short();
        }
    }
    if let (Some(heads), None) = (&heads, at) {
        for (partition, head) in heads.range(PartitionId(log.partitions())..) {
            let what = "a position of record of a partition that the log does not have".to_owned();
            report.differs(Section::Positions, Finding::at_position(*partition, head.next, what));
        }
    }
    if let Some(snapshot) = snapshot.as_deref_mut() {
        if at.is_none() && report.is_whole() {
            states::compare(snapshot, &states, &mut report).await?;
            totals.compare(snapshot, &mut report).await?;
        }
        snapshot.unreadable().iter().for_each(|row| unreadable(row, &mut report));
    }
    report.hash(&states).map_err(|error| StoreError::unavailable("be audited", error))?;
    if let Some(at) = at {
        let there = states.into_values().filter(|stored| at.knows(&stored.state));
        report.accounts = there.filter_map(AccountThen::of).collect();
    }
    Ok(report)
}

fn chain(report: &mut Report, partition: PartitionId, head: Head, replayed: ChainHash) {
    report.compared(Section::Positions, 1);
    if head.chain != replayed {
        let what = "the partition's chain hash".to_owned();
        let finding = Finding { log: replayed.to_string(), database: head.chain.to_string(), ..Finding::of(what) };
        report.differs(Section::Positions, finding.in_partition(partition, head.next));
    }
}

/// A store that has applied nothing of a partition proves nothing of it, however well its rows agree with none.
pub fn nothing_applied(store: &str, partition: PartitionId, end: Offset) -> Finding {
    Finding::of(format!("the {store} store has applied nothing of partition {partition}, whose log ends at {end}"))
}

fn unreadable(row: &Unreadable, report: &mut Report) {
    let section = match row.table {
        "positions" => Section::Positions,
        "transfers" => Section::Transfers,
        "quarantine" => Section::Quarantine,
        "invoices" => Section::Invoices,
        "accounts" => Section::Accounts,
        "lots" => Section::Lots,
        "keys" => Section::Keys,
        _ => Section::Postings,
    };
    let what = format!("a row of `{}` that can't be read: {}", row.table, row.why);
    report.differs(section, Finding { position: row.position, account: row.account, ..Finding::of(what) });
}
