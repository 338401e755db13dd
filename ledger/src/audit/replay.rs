//! A partition, folded without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use accounting::{AccountState, ChainHash, Entry, Fold, FoldedBatch, Outcome};
use bytes::Bytes;
use eventlog::Batch;
use schemas::{AccountId, Event, Offset, PartitionId, Timestamp};

use super::ids::PostedIds;
use crate::store::{Commit, StoreError, StoredAccount};

/// The state of a partition's accounts, as its records are folded in.
pub(super) struct Replay {
    partition: PartitionId,
    states: BTreeMap<AccountId, AccountState>,
    posted: PostedIds,
    chain: ChainHash,
    records: u64,
    cut: Option<Cut>,
}

/// Leaves out what an account's first event after a time, and all that follows it, did.
struct Cut {
    time: Timestamp,
    /// From where on an account's events are left out.
    closed: BTreeMap<AccountId, Offset>,
}

/// What a batch led to.
pub(super) struct Folded {
    pub(super) entries: Vec<Entry>,
    chain: ChainHash,
}

impl Folded {
    /// The rows that the ledger writes of it, as the ledger makes them.
    pub(super) fn rows(self, batch: &Batch) -> Result<Commit, StoreError> {
        let kept: BTreeSet<Offset> = self.entries.iter().map(|entry| entry.offset).collect();
        let records = batch.records.iter().filter(|record| kept.contains(&record.offset)).cloned().collect();
        let batch = Batch { records, ..batch.clone() };
        let folded = FoldedBatch { accounts: BTreeMap::new(), entries: self.entries, chain: self.chain };
        // Without accounts, no balance is beyond exact money. Only the rows matter, not what they are written onto.
        let beyond = || StoreError::unavailable("be audited", "a balance is beyond exact money");
        Commit::new(&batch, ChainHash::GENESIS, &BTreeMap::new(), folded).ok_or_else(beyond)
    }
}

impl Replay {
    pub(super) fn new(partition: PartitionId, until: Option<Timestamp>) -> Self {
        Self {
            partition,
            states: BTreeMap::new(),
            posted: PostedIds::default(),
            chain: ChainHash::GENESIS,
            records: 0,
            cut: until.map(|time| Cut { time, closed: BTreeMap::new() }),
        }
    }

    /// Folds the partition's next batch in.
    pub(super) fn fold(&mut self, mut fold: Fold<Bytes>) -> io::Result<Folded> {
        if let Some(cut) = &mut self.cut {
            fold.retain(|offset, event| cut.keeps(offset, event));
        }
        let posted = self.posted.among(&fold.event_ids())?;
        let (entries, chain) = fold.apply_to(&mut self.states, posted, self.chain);
        self.chain = chain;
        self.records += entries.len() as u64;
        for entry in &entries {
            if let (Outcome::Applied(_), Some(event)) = (&entry.outcome, &entry.event) {
                self.posted.add(event.id)?;
            }
        }
        Ok(Folded { entries, chain })
    }

    /// Of rows of the database, those that the replay is to have as well.
    pub(super) fn until<T>(
        &self,
        rows: Vec<T>,
        offset: impl Fn(&T) -> Offset,
        account: impl Fn(&T) -> Option<AccountId>,
    ) -> Vec<T> {
        let Some(cut) = &self.cut else { return rows };
        let closed = |row: &T| account(row).and_then(|account| cut.closed.get(&account));
        let kept = |row: &T| closed(row).is_none_or(|from| offset(row) < *from);
        rows.into_iter().filter(kept).collect()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    pub(super) fn chain(&self) -> ChainHash {
        self.chain
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn into_states(self) -> BTreeMap<AccountId, StoredAccount> {
        let partition = self.partition;
        self.states.into_iter().map(|(id, state)| (id, StoredAccount { partition, state })).collect()
    }
}

impl Cut {
    /// A record that is no event belongs to no account; it stays, and ends in quarantine as it did.
    fn keeps(&mut self, offset: Offset, event: Option<&Event>) -> bool {
        let Some(event) = event else { return true };
        if event.time > self.time {
            self.closed.entry(event.subject).or_insert(offset);
        }
        !self.closed.contains_key(&event.subject)
    }
}
