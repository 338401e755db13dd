//! Records that can't post, and another try.
//!
//! The log is immutable and the fold deterministic, so a quarantined record stays where it is, for ever. Another try is
//! the same event, byte for byte, as a new record: its id never posted, so it may post now (I5), by a build that knows
//! more, or on an account that is there by now. Nothing is marked: that a later record of the same event id posted *is*
//! what resolves a row, after a rebuild as well.

use std::time::Duration;

use accounting::Reason;
use eventlog::{AppendError, EventLog, Record};
use schemas::api::Refusal;
use schemas::{AccountId, Event, EventId, Offset, PartitionId, Position, Usd};
use tokio::time::{Instant, sleep};

use crate::service::LedgerError;
use crate::store::{Fate, PostedEvent, Store, StoredQuarantine};

/// Between two looks at whether the new record is applied.
const POLL: Duration = Duration::from_millis(20);

/// What a retry led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// The event is posted.
    Posted {
        /// The new record; none where an earlier one had posted, and nothing was appended.
        appended: Option<Position>,
        /// To which account.
        account: AccountId,
        /// What the balance changed by.
        amount: Usd,
        /// The balance with it.
        balance: Usd,
    },
    /// It can't post this time either.
    Quarantined {
        /// The new record.
        appended: Position,
        /// The stable name of why.
        reason: String,
        /// Why, in words.
        detail: String,
    },
}

/// The quarantined record at `position`, and where its event posted since.
///
/// # Errors
/// A refusal where there is none.
pub async fn at(store: &dyn Store, position: Position) -> Result<(StoredQuarantine, Option<Position>), LedgerError> {
    let rows = store.quarantine(before(position), 1).await?;
    let detail = || format!("{position} is not in quarantine; `modelhub admin quarantine list` tells what is");
    let none = || Refusal::Invalid { field: "position".into(), detail: detail() };
    Ok(rows.into_iter().find(|(row, _)| row.position == position).ok_or_else(none)?)
}

fn before(position: Position) -> Option<Position> {
    let Position { partition, offset } = position;
    match (partition.0.checked_sub(1), offset.0.checked_sub(1)) {
        (_, Some(offset)) => Some(Position { partition, offset: Offset(offset) }),
        (Some(partition), None) => Some(Position { partition: PartitionId(partition), offset: Offset(u64::MAX) }),
        (None, None) => None,
    }
}

/// Appends the event of a quarantined record once more, and waits until a ledger has applied it.
///
/// # Errors
/// A refusal, and nothing is appended, where there is no such record, this build can't read it either, or its event id is
/// another fact's.
pub async fn retry(
    store: &dyn Store,
    log: &dyn EventLog,
    position: Position,
    patience: Duration,
) -> Result<Retried, LedgerError> {
    let (row, posted) = at(store, position).await?;
    let unreadable = |error| {
        let detail = format!("this build can't read the record at {position} either, and appended nothing: {error}");
        Refusal::Invalid { field: "position".into(), detail }
    };
    let event = Event::decode(&row.record).map_err(unreadable)?;
    if row.reason == Reason::ID_REUSED {
        return Err(reused(event.id, position, posted).into());
    }
    if let Some(PostedEvent { account, amount, balance, .. }) = store.posted(event.id).await? {
        return Ok(Retried::Posted { appended: None, account, amount, balance });
    }
    let appended = append(log, Record { key: event.subject, payload: row.record }).await?;
    applied(store, appended, patience).await?;
    match store.fate(event.id, appended).await? {
        Some(Fate::Posted { account, amount, balance }) => {
            Ok(Retried::Posted { appended: Some(appended), account, amount, balance })
        }
        Some(Fate::Quarantined { reason, detail }) => Ok(Retried::Quarantined { appended, reason, detail }),
        None => Err(LedgerError::Unavailable(format!(
            "event {} was applied, but the ledger's store knows nothing of it; run `modelhub audit`",
            event.id
        ))),
    }
}

/// Another try can't help: whoever wrote the record has to write it under an id of its own.
fn reused(event: EventId, position: Position, posted: Option<Position>) -> Refusal {
    let first = posted.map_or_else(|| "elsewhere".to_owned(), |posted| format!("at {posted}"));
    let detail = format!(
        "the id {event} of the record at {position} is another fact's, which posted {first}, so it can never post: append \
         what it says as an event with an id of its own"
    );
    Refusal::Invalid { field: "position".into(), detail }
}

async fn append(log: &dyn EventLog, record: Record) -> Result<Position, LedgerError> {
    log.append(record).await.map_err(|error| match error {
        AppendError::TooLarge { .. } => Refusal::Invalid { field: "position".into(), detail: error.to_string() }.into(),
        AppendError::Unavailable(_) => LedgerError::Unavailable(error.to_string()),
    })
}

async fn applied(store: &dyn Store, position: Position, patience: Duration) -> Result<(), LedgerError> {
    let begun = Instant::now();
    while store.head(position.partition).await?.next <= position.offset {
        if begun.elapsed() > patience {
            return Err(LedgerError::NotYetApplied { position, waited: patience });
        }
        sleep(POLL).await;
    }
    Ok(())
}
