//! The ledger as a consumer of the log: fold, one transaction, then effects.

mod decoded;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use accounting::{ChainHash, Reason};
use async_trait::async_trait;
use eventlog::{Batch, Sink, SinkError};
use schemas::api::AccountView;
use schemas::{AccountId, EventId, Offset, PartitionId, Position};
use tracing::{debug, warn};

use self::decoded::{Decoded, off_thread};
use crate::cache::Known;
use crate::feed::{Applied, Feed};
use crate::metrics::Metrics;
use crate::store::{Commit, Loaded, Store, StoreError, StoredAccount};

/// How much memory the accounts of all partitions may take up, in bytes, before the longest unused are forgotten.
const REMEMBERED: usize = 256 << 20;

/// How often a partition commits, at most, while it is not behind: a transaction costs as much for one posting as for hundreds.
const PACE: Duration = Duration::from_millis(20);

/// Folds batches of the log into a store.
pub struct LedgerSink {
    store: Arc<dyn Store>,
    feed: Arc<Feed>,
    partitions: u32,
    remembered: usize,
    /// What the last commit of each partition left; not there while a batch is being applied.
    known: Mutex<BTreeMap<PartitionId, Known>>,
    /// A batch of each partition that was decoded before its turn.
    decoded: Mutex<BTreeMap<PartitionId, Decoded>>,
    metrics: Option<Metrics>,
}

impl LedgerSink {
    /// A sink for a log of `partitions` partitions. Commits are told to `feed`.
    pub fn new(store: Arc<dyn Store>, feed: Arc<Feed>, partitions: u32) -> Self {
        Self {
            store,
            feed,
            partitions,
            remembered: REMEMBERED,
            known: Mutex::default(),
            decoded: Mutex::default(),
            metrics: None,
        }
    }

    /// The same with another bound on the memory for accounts, in bytes. Nothing but speed depends on it.
    #[must_use]
    pub fn remembering(self, bytes: usize) -> Self {
        Self { remembered: bytes, ..self }
    }

    /// The same, with what it commits counted.
    #[must_use]
    pub fn counting(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// What is known at the position of record. It is the caller's until it is put back.
    async fn known(&self, partition: PartitionId, from: Offset) -> Result<Known, SinkError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        let known = match known {
            Some(known) if known.head.next == from => known,
            _ => {
                let limit = self.remembered / usize::try_from(self.partitions).unwrap_or(1).max(1);
                Known::at(self.store.head(partition).await?, limit)
            }
        };
        if known.head.next == from { Ok(known) } else { Err(SinkError::Moved) }
    }

    /// Asks the store for what is not known.
    async fn loaded(&self, known: &Known, decoded: &Decoded) -> Result<Loaded, StoreError> {
        let (mut accounts, unknown) = known.states(&decoded.accounts);
        let mut posted = known.posted(&decoded.events);
        let asked: BTreeSet<EventId> = match known.is_careful() {
            true => decoded.events.iter().filter(|id| !posted.contains_key(*id)).copied().collect(),
            false => BTreeSet::new(),
        };
        if !(unknown.is_empty() && asked.is_empty()) {
            let loaded = self.store.load(&unknown, &asked).await?;
            accounts.extend(loaded.accounts);
            posted.extend(loaded.posted);
        }
        Ok(Loaded { accounts, posted })
    }

    /// Folds a batch and commits what it led to.
    async fn commit(&self, batch: &Arc<Batch>, decoded: Decoded, known: &Known) -> Result<Committed, StoreError> {
        let loaded = self.loaded(known, &decoded).await?;
        let (of, chain) = (Arc::clone(batch), known.head.chain);
        let fold = move || folded(decoded, &of, chain, loaded);
        let committed = off_thread(batch.records.len(), fold).await??;
        if !known.is_careful() {
            self.refuse_repeats(&committed.commit).await?;
        }
        self.store.commit(&committed.commit).await?;
        Ok(committed)
    }

    /// Events that nobody looked up and that can't post: the key of the postings never sees them, and yet they may be
    /// repeats of what is posted, and so no fault. Of an id that is reused it is known that it is posted.
    async fn refuse_repeats(&self, commit: &Commit) -> Result<(), StoreError> {
        let unknown = commit.quarantined.iter().filter(|row| row.reason != Reason::ID_REUSED);
        let events: BTreeSet<EventId> = unknown.filter_map(|row| Some(row.event?.0)).collect();
        if events.is_empty() || self.store.load(&BTreeSet::new(), &events).await?.posted.is_empty() {
            return Ok(());
        }
        Err(StoreError::AlreadyPosted)
    }
}

/// A commit, and the states that it was folded onto.
struct Committed {
    commit: Commit,
    before: BTreeMap<AccountId, StoredAccount>,
}

fn folded(decoded: Decoded, batch: &Batch, chain: ChainHash, loaded: Loaded) -> Result<Committed, StoreError> {
    let Loaded { accounts: before, posted } = loaded;
    let states: BTreeMap<_, _> = before.iter().map(|(id, account)| (*id, account.state.clone())).collect();
    let folded = decoded.fold.apply(states, posted, chain);
    let beyond =
        || StoreError::unavailable("be written to", "a balance is beyond exact money; audit the ledger's store");
    let commit = Commit::new(batch, chain, &before, folded).ok_or_else(beyond)?;
    Ok(Committed { commit, before })
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Moved | StoreError::AlreadyPosted => Self::Moved,
            StoreError::Unavailable { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

#[async_trait]
impl Sink for LedgerSink {
    async fn position(&self, partition: PartitionId) -> Result<Offset, SinkError> {
        self.leave(partition);
        Ok(self.store.head(partition).await?.next)
    }

    async fn apply(&self, batch: Batch) -> Result<(), SinkError> {
        let (partition, batch) = (batch.partition, Arc::new(batch));
        let mut known = self.known(partition, batch.from).await?;
        let ahead = self.decoded.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        let decoded = match ahead {
            Some(decoded) if decoded.is_of(&batch) => decoded,
            _ => Decoded::of(&batch, self.partitions).await?,
        };
        let committed = match self.commit(&batch, decoded, &known).await {
            // No event was looked up, and one was posted before: once more, and with care.
            Err(StoreError::AlreadyPosted) if !known.is_careful() => {
                known.be_careful();
                self.commit(&batch, Decoded::of(&batch, self.partitions).await?, &known).await
            }
            outcome => outcome,
        };
        let Committed { commit, before } = committed?;
        report(&commit);
        if let Some(metrics) = &self.metrics {
            metrics.committed(batch.records.len(), &commit);
        }
        let views = commit.accounts.iter().map(|(state, balance)| view(partition, state, *balance)).collect();
        let applied = Applied { partition, next: commit.next, views };
        known.committed(commit, before);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, known);
        self.feed.publish(applied);
        Ok(())
    }

    async fn prepare(&self, batch: &Batch) {
        if let Ok(decoded) = Decoded::of(&Arc::new(batch.clone()), self.partitions).await {
            self.decoded.lock().unwrap_or_else(PoisonError::into_inner).insert(batch.partition, decoded);
        }
    }

    fn pace(&self) -> Duration {
        PACE
    }

    fn leave(&self, partition: PartitionId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        self.decoded.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }
}

/// What a gateway needs to know of an account.
pub(crate) fn view(partition: PartitionId, state: &accounting::AccountState, balance_usd: schemas::Usd) -> AccountView {
    AccountView {
        account_id: state.id,
        status: state.status(),
        plan: state.plan.clone(),
        balance_usd,
        plan_tokens: state.plan_tokens(),
        paid: state.paid,
        subscription: state.subscription.as_ref().map(accounting::Subscription::view),
        version: Position { partition, offset: state.version },
    }
}

/// A record's content may be anything, secrets included: only its place and the reason's name are logged.
fn report(commit: &Commit) {
    debug!(
        partition = commit.partition.0,
        next = commit.next.0,
        postings = commit.postings.len(),
        accounts = commit.accounts.len(),
        "applied a batch"
    );
    for row in &commit.quarantined {
        let event = row.event.map(|(event, _): (EventId, _)| event.to_string());
        warn!(
            partition = commit.partition.0,
            offset = row.offset.0,
            event = event.as_deref().unwrap_or("unknown"),
            reason = row.reason,
            "a record can't post and is in quarantine"
        );
    }
}
