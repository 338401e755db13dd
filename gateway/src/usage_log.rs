//! Where usage events become durable, and what says beforehand whether they will.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventlog::spool::{NoRoom, Reservation, Spool};
use eventlog::{AppendError, EventLog, Record};
use schemas::Position;
use thiserror::Error;
use tokio::time::{Instant, sleep};

/// For how long an append to a log on this machine is tried.
const APPEND_WITHIN: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// The way of usage events into the log.
#[derive(Clone)]
pub enum UsageLog {
    /// Straight into a log that is a file of this machine: a spool before it would be the same promise twice.
    Direct(Arc<dyn EventLog>),
    /// By a spool on this machine, which is drained into the log.
    Spooled(Arc<Spool>),
}

/// A usage log as one gateway uses it.
pub(crate) struct Recording {
    log: UsageLog,
    /// Direct appends that the log has refused and that are being tried again.
    failing: AtomicUsize,
}

/// Room for one event.
pub(crate) struct Room(Option<Reservation>);

/// Nothing may be admitted.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("the event log does not take usage events")]
    LogFails,
}

impl Recording {
    /// Records into `log`.
    pub(crate) fn new(log: UsageLog) -> Self {
        Self { log, failing: AtomicUsize::new(0) }
    }

    /// Makes sure, before a request goes upstream, that its event of at most so many bytes can be recorded.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Room, Refused> {
        match &self.log {
            UsageLog::Spooled(spool) => Ok(Room(Some(spool.reserve(bytes).await?))),
            UsageLog::Direct(_) if self.failing.load(Ordering::Relaxed) > 0 => Err(Refused::LogFails),
            UsageLog::Direct(_) => Ok(Room(None)),
        }
    }

    /// Makes an event durable. After an error it is not, and will not be tried again; in a direct log it may be there all
    /// the same.
    pub(crate) async fn append(&self, room: Room, record: Record) -> Result<(), String> {
        match (&self.log, room.0) {
            (UsageLog::Spooled(spool), Some(room)) => {
                spool.append(room, record).await.map_err(|error| error.to_string())
            }
            (UsageLog::Spooled(_), None) => Err("no room was set aside".to_owned()),
            (UsageLog::Direct(log), _) => {
                self.append_directly(&**log, &record).await.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// An append that was not confirmed may have happened: the same event again is the same event, so trying again is
    /// safe.
    async fn append_directly(&self, log: &dyn EventLog, record: &Record) -> Result<Position, AppendError> {
        let give_up = Instant::now() + APPEND_WITHIN;
        let mut failing = None;
        loop {
            match log.append(record.clone()).await {
                Err(AppendError::Unavailable(detail)) if Instant::now() < give_up => {
                    tracing::warn!(detail, "the event log did not confirm a usage event; trying again");
                    failing.get_or_insert_with(|| Failing::new(&self.failing));
                    sleep(RETRY_EVERY).await;
                }
                result => return result,
            }
        }
    }
}

/// Counts as failing until it is dropped.
struct Failing<'a>(&'a AtomicUsize);

impl<'a> Failing<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use eventlog::{Batch, Bounds, LogError, Sink};
    use schemas::{AccountId, Offset, PartitionId};
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use super::*;

    /// A log that refuses its first two appends.
    #[derive(Default)]
    struct Reluctant(AtomicUsize);

    #[async_trait]
    impl EventLog for Reluctant {
        fn partitions(&self) -> u32 {
            1
        }

        async fn append(&self, _: Record) -> Result<Position, AppendError> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => Err(AppendError::Unavailable("not yet".to_owned())),
                n => Ok(Position { partition: PartitionId(0), offset: Offset(n as u64) }),
            }
        }

        async fn end(&self, _: PartitionId) -> Result<Offset, LogError> {
            unreachable!("only appended to")
        }

        async fn read(&self, _: PartitionId, _: Offset, _: Bounds) -> Result<Batch, LogError> {
            unreachable!("only appended to")
        }

        async fn run(&self, _: &str, _: Arc<dyn Sink>, _: CancellationToken) -> Result<(), LogError> {
            unreachable!("only appended to")
        }
    }

    #[tokio::test]
    async fn nothing_is_admitted_while_a_direct_append_fails() {
        let recording = Recording::new(UsageLog::Direct(Arc::new(Reluctant::default())));
        let room = recording.reserve(1).await.unwrap();
        let record = Record { key: AccountId(Uuid::nil()), payload: b"event".as_slice().into() };
        let append = recording.append(room, record);
        let meanwhile = async {
            sleep(RETRY_EVERY / 2).await;
            assert!(matches!(recording.reserve(1).await.err(), Some(Refused::LogFails)));
        };
        assert_eq!(tokio::join!(append, meanwhile).0, Ok(()));
        assert!(recording.reserve(1).await.is_ok());
    }
}
