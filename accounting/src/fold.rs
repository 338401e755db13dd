//! Folding a batch of records: decode, tell repeats apart, apply, extend the chain.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{AccountId, Event, EventId, Offset};

use crate::apply::apply;
use crate::{AccountState, ChainHash, FactTag, Outcome, Reason};

/// A record of a partition, as the log holds it: bytes that are borrowed, or shared.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<P> {
    /// Its place.
    pub offset: Offset,
    /// The encoded event; may be anything.
    pub payload: P,
}

/// A batch, decoded once: it tells which accounts and event ids a fold of it needs to know about.
#[derive(Debug)]
pub struct Fold<P> {
    records: Vec<(RecordRef<P>, Result<Told, Refused>)>,
    /// Event ids that the batch holds more than once, sorted.
    repeated: Vec<EventId>,
}

/// An event, and the tag of what it says.
#[derive(Debug)]
struct Told {
    event: Event,
    tag: FactTag,
}

/// A record that can't post, whatever its account's state is.
#[derive(Debug)]
struct Refused {
    event: Option<Event>,
    reason: Reason,
}

/// What a batch led to.
#[derive(Debug)]
pub struct FoldedBatch {
    /// Every account that an applied event changed, as it is after the batch.
    pub accounts: BTreeMap<AccountId, AccountState>,
    /// One entry a record, in order.
    pub entries: Vec<Entry>,
    /// The partition's chain after the batch.
    pub chain: ChainHash,
}

/// What one record led to.
#[derive(Debug)]
pub struct Entry {
    /// Its place.
    pub offset: Offset,
    /// The event; none where the record could not be decoded.
    pub event: Option<Event>,
    /// How it ended.
    pub outcome: Outcome,
    /// The tag of what it says; the default where it could not be decoded, or is not of this partition.
    pub tag: FactTag,
    /// The partition's chain right after it.
    pub chain: ChainHash,
}

impl<P: AsRef<[u8]>> Fold<P> {
    /// Decodes a batch of one partition's consecutive records. `is_home` tells whether an account's records belong into
    /// this partition: an event of another one's account can't post here, or two partitions would change one account.
    pub fn decode(records: impl IntoIterator<Item = RecordRef<P>>, is_home: impl Fn(AccountId) -> bool) -> Self {
        let decode = |record: RecordRef<P>| {
            let event = match Event::decode(record.payload.as_ref()) {
                Ok(event) if is_home(event.subject) => {
                    let tag = FactTag::of(&event, record.payload.as_ref());
                    Ok(Told { event, tag })
                }
                Ok(event) => Err(Refused { event: Some(event), reason: Reason::Misrouted }),
                Err(error) => Err(Refused { event: None, reason: Reason::Undecodable(error.to_string()) }),
            };
            (record, event)
        };
        let records: Vec<_> = records.into_iter().map(decode).collect();
        let repeated = repeated(records.iter().filter_map(|(_, event)| Some(event.as_ref().ok()?.event.id)).collect());
        Self { records, repeated }
    }

    /// The records, as they were given, in order.
    pub fn records(&self) -> impl Iterator<Item = &RecordRef<P>> {
        self.records.iter().map(|(record, _)| record)
    }

    /// The accounts whose states [`Fold::apply`] needs.
    pub fn accounts(&self) -> BTreeSet<AccountId> {
        self.events().map(|event| event.subject).collect()
    }

    /// The event ids of which [`Fold::apply`] needs to know whether they are posted already.
    pub fn event_ids(&self) -> BTreeSet<EventId> {
        self.events().map(|event| event.id).collect()
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        self.records.iter().filter_map(|(_, event)| Some(&event.as_ref().ok()?.event))
    }

    /// Applies the batch to `known`: the states of [`Fold::accounts`], as far as those exist, each as it was before the
    /// batch. `posted` holds those of [`Fold::event_ids`] that are posted already (I5), with the tag of what they said, and
    /// `chain` is the partition's hash before the batch.
    pub fn apply(
        self,
        mut known: BTreeMap<AccountId, AccountState>,
        posted: BTreeMap<EventId, FactTag>,
        chain: ChainHash,
    ) -> FoldedBatch {
        let first = self.records.first().map(|(record, _)| record.offset);
        let (entries, chain) = self.apply_to(&mut known, posted, chain);
        known.retain(|_, state| Some(state.version) >= first);
        FoldedBatch { accounts: known, entries, chain }
    }

    /// The same in place, for a replay that holds every account: `accounts` may be more than those of the batch.
    pub fn apply_to(
        self,
        accounts: &mut BTreeMap<AccountId, AccountState>,
        mut posted: BTreeMap<EventId, FactTag>,
        mut chain: ChainHash,
    ) -> (Vec<Entry>, ChainHash) {
        let mut entries = Vec::with_capacity(self.records.len());
        for (record, event) in self.records {
            chain = chain.extend(record.offset, record.payload.as_ref());
            let (event, tag, outcome) = match event {
                Err(Refused { event, reason }) => (event, FactTag::default(), Outcome::Quarantined(reason)),
                Ok(Told { event, tag }) => {
                    let outcome = match posted.get(&event.id) {
                        Some(before) if *before == tag => Outcome::Duplicate,
                        Some(_) => Outcome::Quarantined(Reason::IdReused),
                        None => apply(accounts, &event, record.offset),
                    };
                    // Of an id that comes once, nobody asks again.
                    if matches!(outcome, Outcome::Applied(_)) && self.repeated.binary_search(&event.id).is_ok() {
                        posted.insert(event.id, tag);
                    }
                    (Some(event), tag, outcome)
                }
            };
            entries.push(Entry { offset: record.offset, event, outcome, tag, chain });
        }
        (entries, chain)
    }
}

/// Those that are there more than once, sorted.
fn repeated(mut ids: Vec<EventId>) -> Vec<EventId> {
    ids.sort_unstable();
    let mut repeated: Vec<EventId> = ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    repeated.dedup();
    repeated
}
