//! What a sink remembers of a partition that it runs, so that it need not ask the database for what it wrote itself.
//!
//! It is right as long as the position of record is where the sink's last commit left it: whoever else changes an account
//! of the partition moves that too, the next commit's compare-and-swap fails, and all of this is dropped. So a cache is
//! only ever in the hands of the batch that is being applied, and put back once that is committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use accounting::{AccountState, FactTag};
use schemas::{AccountId, EventId};

use crate::store::{Commit, Head, StoredAccount};

/// Event ids of one generation. Two are remembered: the current one, and the one before it.
const GENERATION: usize = 1 << 16;

/// Batches for which every event id is looked up, after one repeated an event that was not remembered.
const CAREFUL: u32 = 64;

/// What is known of a partition at a position of record.
#[derive(Debug)]
pub(crate) struct Known {
    /// That position.
    pub(crate) head: Head,
    accounts: Accounts,
    posted: Recent,
    careful: u32,
}

impl Known {
    /// Nothing but a position; accounts may take up to about `limit` bytes.
    pub(crate) fn at(head: Head, limit: usize) -> Self {
        Self { head, accounts: Accounts { limit, ..Accounts::default() }, posted: Recent::default(), careful: 0 }
    }

    /// The states that are known of these accounts, and the accounts of which none is.
    pub(crate) fn states(
        &self,
        ids: &BTreeSet<AccountId>,
    ) -> (BTreeMap<AccountId, StoredAccount>, BTreeSet<AccountId>) {
        let (mut known, mut unknown) = (BTreeMap::new(), BTreeSet::new());
        for id in ids {
            if let Some(held) = self.accounts.held.get(id) {
                known.insert(*id, held.account.clone());
            } else {
                unknown.insert(*id);
            }
        }
        (known, unknown)
    }

    /// Those of the events that are known to be posted, with the tags of their facts.
    pub(crate) fn posted(&self, ids: &BTreeSet<EventId>) -> BTreeMap<EventId, FactTag> {
        ids.iter().filter_map(|id| Some((*id, self.posted.tag(*id)?))).collect()
    }

    /// Whether the database has to be asked for the events that are not.
    pub(crate) fn is_careful(&self) -> bool {
        self.careful > 0
    }

    /// An event was posted that is not remembered: more of them may follow.
    pub(crate) fn be_careful(&mut self) {
        self.careful = CAREFUL;
    }

    /// `commit` is in the database; `before` are the states that it was folded onto.
    pub(crate) fn committed(&mut self, commit: Commit, before: BTreeMap<AccountId, StoredAccount>) {
        self.head = Head { next: commit.next, chain: commit.chain };
        self.careful = self.careful.saturating_sub(1);
        for row in &commit.postings {
            self.posted.add(row.event_id, row.fact_tag);
        }
        self.accounts.batches += 1;
        let partition = commit.partition;
        for (_, account) in before {
            self.accounts.put(account);
        }
        for (state, _) in commit.accounts {
            self.accounts.put(StoredAccount { partition, state });
        }
        self.accounts.evict();
    }
}

#[derive(Debug)]
struct Held {
    account: StoredAccount,
    /// The last batch that touched it.
    used: u64,
    bytes: usize,
}

/// Accounts, of which the longest unused go first: by batch and then by id, so that it is the same every time.
#[derive(Debug, Default)]
struct Accounts {
    held: BTreeMap<AccountId, Held>,
    by_use: BTreeSet<(u64, AccountId)>,
    batches: u64,
    bytes: usize,
    limit: usize,
}

impl Accounts {
    fn put(&mut self, account: StoredAccount) {
        let (id, used, bytes) = (account.state.id, self.batches, size(&account.state));
        self.bytes += bytes;
        if let Some(old) = self.held.insert(id, Held { account, used, bytes }) {
            self.bytes -= old.bytes;
            if old.used == used {
                return;
            }
            self.by_use.remove(&(old.used, id));
        }
        self.by_use.insert((used, id));
    }

    fn evict(&mut self) {
        while self.bytes > self.limit
            && let Some((_, id)) = self.by_use.pop_first()
        {
            self.bytes -= self.held.remove(&id).map_or(0, |held| held.bytes);
        }
    }
}

/// About how many bytes a state takes up in memory: its parts with their texts, as long as those usually are.
fn size(state: &AccountState) -> usize {
    const WHOLE: usize = 1_024;
    const PART: usize = 256;
    let frozen = state.disputes.values().map(|dispute| dispute.frozen.len()).sum::<usize>();
    let tokens = state.subscription.as_ref().map_or(0, |subscription| subscription.tokens.len());
    let parts = state.lots.len()
        + state.keys.len()
        + state.payments.len()
        + state.disputes.len()
        + state.decided_disputes.len()
        + state.corrections.len()
        + frozen
        + tokens;
    WHOLE + PART * parts
}

/// The event ids that were posted last.
#[derive(Debug, Default)]
struct Recent {
    current: HashMap<EventId, FactTag>,
    before: HashMap<EventId, FactTag>,
}

impl Recent {
    fn tag(&self, id: EventId) -> Option<FactTag> {
        self.current.get(&id).or_else(|| self.before.get(&id)).copied()
    }

    fn add(&mut self, id: EventId, tag: FactTag) {
        if self.current.len() >= GENERATION {
            self.before = std::mem::take(&mut self.current);
        }
        self.current.insert(id, tag);
    }
}

#[cfg(test)]
mod tests;
