//! From an event to what became of it.

use std::pin::pin;
use std::time::Duration;

use eventlog::{AppendError, Record};
use schemas::api::Refusal;
use schemas::{AccountId, Event, EventData, EventId, Offset, Position, Usd};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{Ledger, LedgerError};
use crate::store::Fate;

/// The `source` of events that commands make.
pub(super) const SOURCE: &str = "/modelhub/ledger";

/// Between two looks at a position that another process moves: the first, and the longest.
const FIRST_POLL: Duration = Duration::from_millis(5);
const LONGEST_POLL: Duration = Duration::from_millis(160);

/// Between two lines of the process's log that tell how far the folding is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What a posted event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Posted {
    /// What the balance changed by.
    pub(super) amount: Usd,
    /// The balance with it.
    pub(super) balance: Usd,
}

impl Ledger {
    /// Appends an event about `account` and returns when it is posted. An event id that is posted already stays as it
    /// was posted.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] of `field` where the event went into quarantine.
    pub(super) async fn post(
        &self,
        id: EventId,
        account: AccountId,
        data: EventData,
        field: &str,
    ) -> Result<Posted, LedgerError> {
        let event = self.event(id, account, data);
        let record = event.encode().map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let position = self.append(account, record).await?;
        self.wait_until_applied(position, self.parts.apply_timeout).await?;
        match self.parts.store.fate(id, position).await? {
            Some(Fate::Posted { account: of, amount, balance }) if of == account => Ok(Posted { amount, balance }),
            Some(Fate::Posted { .. }) => {
                let detail = format!("event {id} is posted to another account");
                Err(Refusal::Invalid { field: field.into(), detail }.into())
            }
            Some(Fate::Quarantined { reason, detail }) => {
                let detail = format!("the event was quarantined as {reason}: {detail}");
                Err(Refusal::Invalid { field: field.into(), detail }.into())
            }
            None => Err(LedgerError::Unavailable(format!(
                "event {id} at {position} was applied, but the ledger's store knows nothing of it; run `modelhub audit`"
            ))),
        }
    }

    /// An event of now.
    pub(super) fn event(&self, id: EventId, account: AccountId, data: EventData) -> Event {
        Event { id, source: SOURCE.into(), subject: account, time: self.parts.outside.now(), data }
    }

    async fn append(&self, account: AccountId, record: Vec<u8>) -> Result<Position, LedgerError> {
        match self.parts.log.append(Record { key: account, payload: record.into() }).await {
            Ok(position) => Ok(position),
            Err(error @ AppendError::TooLarge { .. }) => {
                Err(Refusal::Invalid { field: "command".into(), detail: error.to_string() }.into())
            }
            Err(error @ AppendError::Unavailable(_)) => Err(LedgerError::Unavailable(error.to_string())),
        }
    }

    /// Returns once everything is applied that is in the log now, however long that takes. Balances from before lack the
    /// latest charges, and who admits requests on them gives away what is spent already.
    ///
    /// # Errors
    /// As [`Ledger::fits_the_log`].
    pub async fn catch_up(&self) -> Result<(), LedgerError> {
        for (partition, end) in self.fits_the_log().await? {
            if let Some(last) = end.0.checked_sub(1) {
                self.caught_up(Position { partition, offset: Offset(last) }).await;
            }
        }
        Ok(())
    }

    /// As [`Ledger::applied`], and says now and then how far it is: a long log takes minutes.
    async fn caught_up(&self, position: Position) {
        let mut applied = pin!(self.applied(position));
        loop {
            tokio::select! {
                () = &mut applied => return,
                () = sleep(TELL_EVERY) => {}
            }
            match self.parts.store.head(position.partition).await {
                Ok(head) => info!(
                    partition = position.partition.0,
                    applied = head.next.0,
                    end = position.offset.0 + 1,
                    "waiting until the log is folded"
                ),
                Err(error) => {
                    warn!(%error, %position, "waiting until the log is folded, and the store does not answer");
                }
            }
        }
    }

    pub(super) async fn wait_until_applied(&self, position: Position, waited: Duration) -> Result<(), LedgerError> {
        let applied = timeout(waited, self.applied(position));
        applied.await.map_err(|_| LedgerError::NotYetApplied { position, waited })
    }

    /// The sink of this process tells; of another process's sink, the store does.
    async fn applied(&self, position: Position) {
        tokio::select! {
            () = self.told(position) => {}
            () = self.polled(position) => {}
        }
    }

    async fn told(&self, position: Position) {
        let mut progress = self.parts.feed.progress();
        let reached = |next: &Offset| *next > position.offset;
        // The feed outlives the service, so it never closes.
        drop(progress.wait_for(|positions| positions.get(&position.partition).is_some_and(reached)).await);
    }

    /// A store that can't answer just now may still do so in time; the event is in the log already.
    async fn polled(&self, position: Position) {
        let mut pause = FIRST_POLL;
        loop {
            sleep(pause).await;
            match self.parts.store.head(position.partition).await {
                Ok(head) if head.next > position.offset => return,
                Ok(_) => {}
                Err(error) => debug!(%error, %position, "waiting for an event to be applied"),
            }
            pause = (pause * 2).min(LONGEST_POLL);
        }
    }
}
