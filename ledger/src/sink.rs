//! The ledger as a consumer of the log: load, fold, one transaction, then effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use accounting::{Fold, RecordRef};
use async_trait::async_trait;
use eventlog::{Batch, Sink, SinkError, partition};
use schemas::api::AccountView;
use schemas::{Offset, PartitionId, Position};
use tracing::{debug, warn};

use crate::feed::{Applied, Feed};
use crate::store::{Commit, Head, Loaded, Store, StoreError};

/// Folds batches of the log into a store.
pub struct LedgerSink {
    store: Arc<dyn Store>,
    feed: Arc<Feed>,
    partitions: u32,
}

impl LedgerSink {
    /// A sink for a log of `partitions` partitions. Commits are told to `feed`.
    pub fn new(store: Arc<dyn Store>, feed: Arc<Feed>, partitions: u32) -> Self {
        Self { store, feed, partitions }
    }
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Moved => Self::Moved,
            StoreError::Unavailable { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

#[async_trait]
impl Sink for LedgerSink {
    async fn position(&self, partition: PartitionId) -> Result<Offset, SinkError> {
        Ok(self.store.head(partition).await?.next)
    }

    async fn apply(&self, batch: Batch) -> Result<(), SinkError> {
        let head = self.store.head(batch.partition).await?;
        if head.next != batch.from {
            return Err(SinkError::Moved);
        }
        let is_home = |account| partition::of(account, self.partitions) == batch.partition;
        let records = batch.records.iter();
        let records = records.map(|record| RecordRef { offset: record.offset, payload: &record.payload });
        let fold = Fold::decode(records, is_home);
        let loaded = self.store.load(&fold.accounts(), &fold.event_ids()).await?;
        let commit = fold_onto(fold, &batch, head, loaded)?;
        self.store.commit(&commit).await?;
        report(&commit);
        self.feed.publish(Applied {
            partition: commit.partition,
            next: commit.next,
            views: commit.accounts.iter().map(|(state, balance)| view(batch.partition, state, *balance)).collect(),
        });
        Ok(())
    }
}

fn fold_onto(fold: Fold<'_>, batch: &Batch, head: Head, loaded: Loaded) -> Result<Commit, SinkError> {
    let Loaded { accounts, posted } = loaded;
    let known: BTreeMap<_, _> = accounts.iter().map(|(id, account)| (*id, account.state.clone())).collect();
    let folded = fold.apply(known, posted, head.chain);
    let beyond = || SinkError::Unavailable("a balance is beyond exact money; audit the ledger's store".into());
    Commit::new(batch, &accounts, folded).ok_or_else(beyond)
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
        let event = row.event.map(|(event, _)| event.to_string());
        warn!(
            partition = commit.partition.0,
            offset = row.offset.0,
            event = event.as_deref().unwrap_or("unknown"),
            reason = row.reason,
            "a record can't post and is in quarantine"
        );
    }
}
