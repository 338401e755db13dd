//! From the spool into the log, in order.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use schemas::Position;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use super::frame;
use super::place::Place;
use super::recover::WHOLE;
use super::room::Segment;
use super::segment::HEADER_BYTES;
use super::{Shared, Spool};
use crate::{EventLog, Record};

/// The most records, and about the most bytes, that are on their way into the log at once.
const BATCH: usize = 1_000;
const BATCH_BYTES: u32 = 1 << 20;
/// Between two batches, where the last one was all that waited. A batch has its own cost, however small it is: under load this
/// makes one of dozens, and no record is later for it than this.
const REST: Duration = Duration::from_millis(20);
/// Between two tries of what the log did not take.
const PACE: Duration = Duration::from_millis(250);
/// How often it is told that the log takes nothing.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Who wants to know where spooled records got to.
pub trait Drained: Send + Sync + 'static {
    /// The record is in the log, here. Told once for each record, in order; after a restart again for those whose draining
    /// was not noted.
    fn drained(&self, record: &Record, position: Position);
}

/// What to do next.
enum Next {
    /// Records of a segment, up to `end`.
    Read {
        segment: Segment,
        end: u32,
    },
    /// The segment is drained and takes no more.
    Remove(u64),
    /// Go on there.
    Go(Place),
    Wait,
}

impl Spool {
    /// Appends what waits, and what comes, to the log, for as long as it takes: a record leaves the spool when the log has
    /// confirmed it. Records of one account get into the log in their order as long as the log takes concurrent appends
    /// in the order in which they are made. After `stop` it returns as soon as nothing waits. Dropped, it can be called
    /// again.
    pub async fn drain(&self, log: Arc<dyn EventLog>, told: Arc<dyn Drained>, stop: CancellationToken) {
        let mut place = self.drained.lock().await;
        let mut durable = self.shared.durable.subscribe();
        loop {
            durable.mark_unchanged();
            match self.shared.next(*place) {
                Next::Wait if stop.is_cancelled() => return,
                Next::Wait => tokio::select! {
                    // The sender is in `self`.
                    _ = durable.changed() => {}
                    () = stop.cancelled() => {}
                },
                Next::Go(there) => *place = there,
                Next::Remove(number) => {
                    *place = Place { segment: number, at: WHOLE };
                    let shared = Arc::clone(&self.shared);
                    let removed = spawn_blocking(move || shared.remove(number)).await;
                    if let Ok(Err(error)) = removed {
                        tracing::warn!(%error, number, "a drained segment of the spool could not be removed");
                    }
                }
                Next::Read { segment, end } => match read(segment, place.at, end).await {
                    Ok((records, next)) => {
                        let count = records.len() as u64;
                        self.shared.append_all(&*log, &*told, records).await;
                        place.at = next;
                        self.shared.room().waiting.drained(count, *place);
                        if let Err(error) = self.shared.disk.note_drained(*place, false) {
                            tracing::warn!(%error, "how far the spool is drained could not be noted; a restart repeats");
                        }
                        if next == end {
                            stop.run_until_cancelled(sleep(REST)).await;
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "the spool can't be read, so nothing of it gets into the event log");
                        sleep(TELL_EVERY).await;
                    }
                },
            }
        }
    }
}

impl Shared {
    fn next(&self, place: Place) -> Next {
        let room = self.room();
        let Some(at) = room.segments.iter().position(|segment| segment.number == place.segment) else {
            let next = room.segments.iter().find(|segment| segment.number > place.segment);
            return next.map_or(Next::Wait, |next| Next::Go(Place { segment: next.number, at: HEADER_BYTES }));
        };
        let Some(segment) = room.segments.get(at) else { return Next::Wait };
        if place.at < segment.end {
            return Next::Read { segment: segment.clone(), end: segment.end };
        }
        let is_current = at + 1 == room.segments.len() && room.writable;
        if is_current { Next::Wait } else { Next::Remove(segment.number) }
    }

    /// First the note, then the file: a segment that is missing without a note is a loss.
    fn remove(&self, number: u64) -> io::Result<()> {
        self.room().segments.retain(|segment| segment.number != number);
        self.disk.note_drained(Place { segment: number, at: WHOLE }, true)?;
        self.disk.remove(number)
    }

    /// Returns when all of these are in the log.
    async fn append_all(&self, log: &dyn EventLog, told: &dyn Drained, mut records: Vec<Record>) {
        let started = Instant::now();
        let mut tell = interval_at(started + TELL_EVERY, TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !records.is_empty() {
            let mut appends: FuturesOrdered<_> = records.iter().map(|record| log.append(record.clone())).collect();
            let mut results = Vec::with_capacity(records.len());
            while results.len() < records.len() {
                tokio::select! {
                    result = appends.next() => results.extend(result),
                    _ = tell.tick() => {
                        let (waited, bytes) = (started.elapsed(), self.room().bytes());
                        tracing::warn!(?waited, bytes, "the event log takes nothing; usage waits in the spool");
                    }
                }
            }
            drop(appends);
            let mut left = Vec::new();
            let mut why = None;
            for (record, result) in records.into_iter().zip(results) {
                match result {
                    Ok(position) => told.drained(&record, position),
                    Err(error) => {
                        why = Some(error);
                        left.push(record);
                    }
                }
            }
            if let Some(error) = why {
                tracing::warn!(%error, records = left.len(), "the event log did not confirm; trying again");
                sleep(PACE).await;
            }
            records = left;
        }
    }
}

/// Reads records from `at` on, and tells where the next one begins.
async fn read(segment: Segment, at: u32, end: u32) -> io::Result<(Vec<Record>, u32)> {
    let most = BATCH_BYTES + u32::try_from(frame::MAX_FRAME_BYTES).unwrap_or(u32::MAX);
    let mut bytes = vec![0; (end - at).min(most) as usize];
    let file = Arc::clone(&segment.file);
    let bytes = spawn_blocking(move || file.read_exact_at(&mut bytes, u64::from(at)).map(|()| Bytes::from(bytes)));
    let bytes = bytes.await.map_err(io::Error::other)??;
    let mut records = Vec::new();
    let mut next = at;
    while next < end && next - at < BATCH_BYTES && records.len() < BATCH {
        let Some(frame) = frame::decode(&bytes, at, segment.number, next) else {
            return Err(io::Error::other(format!("segment {:016x} is damaged at byte {next}", segment.number)));
        };
        next += frame.bytes;
        records.push(frame.record);
    }
    Ok((records, next))
}
