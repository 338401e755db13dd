//! A partition, folded without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use accounting::{AccountState, ChainHash, Entry, Fold, FoldedBatch, Outcome};
use bytes::Bytes;
use eventlog::{Batch, StoredRecord};
use schemas::{AccountId, Event, EventId, Offset, PartitionId, Timestamp};

use super::ids::PostedIds;
use super::reader::decode;
use crate::store::{Commit, StoreError, StoredAccount};

/// The state of a partition's accounts, as its records are folded in.
pub(super) struct Replay {
    partition: PartitionId,
    partitions: u32,
    states: BTreeMap<AccountId, AccountState>,
    posted: PostedIds,
    chain: ChainHash,
    records: u64,
    cut: Option<Cut>,
}

/// Leaves out what an account's first statement entry after a time, and all that follows it, did.
struct Cut {
    time: Timestamp,
    /// From where on an account's events are left out.
    closed: BTreeMap<AccountId, Offset>,
}

/// What a cut says of a record before it is folded.
enum Seen {
    /// It stays.
    Kept,
    /// It is left out.
    LeftOut,
    /// It happened later: where it is an entry of the account's statement, that ends before it.
    Late(AccountId),
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
    pub(super) fn new(partition: PartitionId, partitions: u32, until: Option<Timestamp>) -> Self {
        Self {
            partition,
            partitions,
            states: BTreeMap::new(),
            posted: PostedIds::default(),
            chain: ChainHash::GENESIS,
            records: 0,
            cut: until.map(|time| Cut { time, closed: BTreeMap::new() }),
        }
    }

    /// Folds the partition's next batch in, which was decoded to `fold` with these event ids.
    pub(super) fn fold(&mut self, batch: &Batch, fold: Fold<Bytes>, ids: &BTreeSet<EventId>) -> io::Result<Folded> {
        if self.cut.is_none() {
            let entries = self.apply(fold, ids)?;
            self.keep(&entries)?;
            return Ok(Folded { entries, chain: self.chain });
        }
        let mut entries = Vec::with_capacity(batch.records.len());
        let mut together = Vec::new();
        for record in &batch.records {
            match self.cut.as_ref().map_or(Seen::Kept, |cut| cut.sees(&record.payload)) {
                Seen::Kept => together.push(record),
                Seen::LeftOut => {}
                Seen::Late(account) => {
                    entries.append(&mut self.fold_all(&std::mem::take(&mut together))?);
                    entries.append(&mut self.fold_late(account, record)?);
                }
            }
        }
        entries.append(&mut self.fold_all(&together)?);
        Ok(Folded { entries, chain: self.chain })
    }

    fn fold_all(&mut self, records: &[&StoredRecord]) -> io::Result<Vec<Entry>> {
        let fold = self.decode(records);
        let ids = fold.event_ids();
        let entries = self.apply(fold, &ids)?;
        self.keep(&entries)?;
        Ok(entries)
    }

    fn decode(&self, records: &[&StoredRecord]) -> Fold<Bytes> {
        decode(records.iter().copied(), self.partition, self.partitions)
    }

    /// A record that happened after the cut: whether it posts, only folding it tells. Most accounts have at most one such.
    fn fold_late(&mut self, account: AccountId, record: &StoredRecord) -> io::Result<Vec<Entry>> {
        let (before, chain) = (self.states.get(&account).cloned(), self.chain);
        let fold = self.decode(&[record]);
        let ids = fold.event_ids();
        let entries = self.apply(fold, &ids)?;
        let is_entry = |entry: &Entry| matches!(&entry.outcome, Outcome::Applied(posting) if posting.detail.is_some());
        if !entries.iter().any(is_entry) {
            self.keep(&entries)?;
            return Ok(entries);
        }
        self.chain = chain;
        match before {
            Some(before) => drop(self.states.insert(account, before)),
            None => drop(self.states.remove(&account)),
        }
        if let Some(cut) = &mut self.cut {
            cut.closed.insert(account, record.offset);
        }
        Ok(Vec::new())
    }

    fn apply(&mut self, fold: Fold<Bytes>, ids: &BTreeSet<EventId>) -> io::Result<Vec<Entry>> {
        let posted = self.posted.among(ids)?;
        let (entries, chain) = fold.apply_to(&mut self.states, posted, self.chain);
        self.chain = chain;
        Ok(entries)
    }

    fn keep(&mut self, entries: &[Entry]) -> io::Result<()> {
        self.records += entries.len() as u64;
        let posted = entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Applied(_)));
        self.posted.add(posted.filter_map(|entry| Some((entry.event.as_ref()?.id, entry.tag))))
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
    fn sees(&self, record: &[u8]) -> Seen {
        match Event::decode(record) {
            Ok(event) if self.closed.contains_key(&event.subject) => Seen::LeftOut,
            Ok(event) if event.time > self.time => Seen::Late(event.subject),
            Ok(_) | Err(_) => Seen::Kept,
        }
    }
}
