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
mod ids;
mod invoices;
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
use schemas::{AccountId, Offset, PartitionId, Position};
use thiserror::Error;

pub use self::at::{At, NotAMoment};
use self::reader::{Decoded, Read, Unreadable};
use self::replay::Replay;
pub use self::report::{AccountThen, Finding, Report, Section};
use self::totals::Totals;
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
    for partition in (0..log.partitions()).map(PartitionId) {
        let end = log.end(partition).await?;
        let head = heads.as_ref().map(|heads| heads.get(&partition).copied().unwrap_or(Head::START));
        let applied = head.map_or(end, |head| head.next);
        let Some(to) = At::bound(at, partition, applied) else { continue };
        let mut replay = Replay::new(partition, at.and_then(At::time));
        let mut one = Partition { id: partition, snapshot: snapshot.as_mut(), report: &mut report };
        let whole = one.compare(log, to, &mut replay, &mut totals, watch).await?;
        report.replayed(partition, replay.records(), end.0.saturating_sub(applied.0));
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
    match snapshot {
        Some(mut snapshot) if at.is_none() && report.is_whole() => {
            states::compare(snapshot.as_mut(), &states, &mut report).await?;
            totals.compare(snapshot.as_mut(), &mut report).await?;
        }
        _ => {}
    }
    report.hash(&states).map_err(|error| StoreError::unavailable("be audited", error))?;
    if at.is_some() {
        report.accounts = states.into_values().filter_map(AccountThen::of).collect();
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

/// One partition's replay, side by side with what the database has of it.
struct Partition<'a> {
    id: PartitionId,
    snapshot: Option<&'a mut Box<dyn Snapshot>>,
    report: &'a mut Report,
}

impl Partition<'_> {
    /// Whether the log could be read up to `to`.
    async fn compare(
        &mut self,
        log: &Arc<dyn EventLog>,
        to: Offset,
        replay: &mut Replay,
        totals: &mut Totals,
        watch: &mut dyn Watch,
    ) -> Result<bool, AuditError> {
        let bounds = if self.snapshot.is_some() { reader::COMPARED } else { reader::REPLAYED };
        let mut batches = reader::ahead(Arc::clone(log), self.id, to, bounds);
        let mut tags = rows::Tags::new(!replay.is_cut());
        while let Some(read) = batches.recv().await {
            let Decoded { batch, fold } = match read {
                Read::Batch(decoding) => decoding.await.map_err(std::io::Error::other)?,
                Read::Failed(unreadable) => {
                    self.unreadable(unreadable).await?;
                    return Ok(false);
                }
            };
            let folded = replay.fold(fold)?;
            for entry in &folded.entries {
                watch.entry(self.id, entry);
            }
            if let Some(snapshot) = self.snapshot.as_mut() {
                let (from, next) = (batch.from, batch.next);
                let expected = folded.rows(&batch)?;
                totals.add(&expected);
                let postings = snapshot.postings(self.id, from, next).await?;
                let quarantined = snapshot.quarantined(self.id, from, next).await?;
                let invoices = snapshot.invoices(self.id, from, next).await?;
                let invoices = replay.until(invoices, |row| row.position.offset, |_| Some(AccountId::OPERATOR));
                let postings = replay.until(postings, |row| row.offset, |row| Some(row.account_id));
                let quarantined = replay.until(quarantined, |row| row.position.offset, |row| row.account_id);
                rows::postings(self.id, &expected, &postings, &mut tags, self.report);
                rows::quarantined(self.id, &expected, &quarantined, self.report);
                invoices::compare(self.id, &expected, &invoices, self.report);
            }
        }
        Ok(true)
    }

    async fn unreadable(&mut self, Unreadable { at, why }: Unreadable) -> Result<(), AuditError> {
        let mut finding = Finding { log: why, ..Finding::of("the record".to_owned()) };
        if let Some(snapshot) = self.snapshot.as_mut() {
            let posted = snapshot.postings(self.id, at, at.next()).await?;
            "nothing of it".clone_into(&mut finding.database);
            if let Some(row) = posted.first() {
                finding.database = format!("{}, amount {}", row.event_type, row.amount);
                (finding.event, finding.account) = (Some(row.event_id), Some(row.account_id));
            } else if let Some(row) = snapshot.quarantined(self.id, at, at.next()).await?.first() {
                finding.database = format!("a record in quarantine as {}", row.reason);
                (finding.event, finding.account) = (row.event_id, row.account_id);
            }
        }
        let position = Position { partition: self.id, offset: at };
        self.report.differs(Section::Log, Finding { position: Some(position), ..finding });
        Ok(())
    }
}
