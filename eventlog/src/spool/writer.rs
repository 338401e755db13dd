//! The one writer: all that wait share a write, and so an `fdatasync`.
//!
//! After a failed write or sync nothing is known of what is on the disk, and a second sync of the same file may succeed
//! without having written anything. So the segment ends where it was last known to be durable, and the same records go
//! into another one, whose header says where this one ends.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::frame::{self, frame_bytes};
use super::place::Place;
use super::room::Segment;
use super::segment::{HEADER_BYTES, Header};
use super::{NoRoom, NotDurable, Reservation, Shared};
use crate::Record;

/// The most records, and about the most bytes, in one write.
const GROUP: usize = 4_096;
const GROUP_BYTES: usize = 1 << 20;
/// Where at least so many requests run beside those that wait for a write,
const MANY: usize = 8;
/// a write waits so long for more to share it: each write has its own cost, and a `fdatasync` for every one of many requests is most
/// of what they take. One request alone never waits.
const GATHER: Duration = Duration::from_millis(1);
/// Between two tries.
const PACE: Duration = Duration::from_millis(250);

/// An append that waits.
pub(super) struct Append {
    pub(super) record: Record,
    pub(super) reservation: Reservation,
    pub(super) done: oneshot::Sender<Result<(), NotDurable>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
}

/// Where a write goes.
struct Target {
    number: u64,
    file: Arc<File>,
    size: u64,
    at: u32,
    /// For a segment that gets its first write.
    header: Option<Header>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Serves the queue until nobody can append any more.
    pub(super) fn run(self, mut queue: mpsc::UnboundedReceiver<Append>) {
        let mut group = Vec::with_capacity(GROUP);
        while queue.blocking_recv_many(&mut group, GROUP) > 0 {
            if others_may_share(self.shared.room().running, group.len()) {
                std::thread::sleep(GATHER);
                group.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(GROUP));
            }
            self.serve(group.drain(..).collect());
        }
    }

    /// Writes all of these, or gives up all that are left.
    fn serve(&self, mut waiting: VecDeque<Append>) {
        let mut failing_since = None;
        while !waiting.is_empty() {
            match self.write(&waiting) {
                Ok(written) => {
                    failing_since = None;
                    self.shared.durable.send_replace(());
                    for Append { reservation, done, .. } in waiting.drain(..written) {
                        drop(reservation);
                        // Nobody to tell where the caller has gone away.
                        let _ = done.send(Ok(()));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, waiting = waiting.len(), "the spool can't be written");
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    let give_up = since.elapsed() >= self.shared.room().config.give_up;
                    if give_up || *self.shared.closing.borrow() {
                        for append in waiting.drain(..) {
                            let _ = append.done.send(Err(NotDurable(error.to_string())));
                        }
                    }
                    std::thread::sleep(PACE.min(self.shared.room().config.try_again));
                }
            }
        }
    }

    /// Makes as many of the first records durable as fit one write; gives their count.
    fn write(&self, waiting: &VecDeque<Append>) -> io::Result<usize> {
        let first = waiting.front().map_or(0, |append| append.record.payload.len());
        let target = self.target(frame_bytes(first))?;
        let mut buffer = target.header.map_or(Vec::new(), |header| header.encode().to_vec());
        let group = target.at;
        let mut count = 0;
        for Append { record, .. } in waiting {
            let at = target.at + u32::try_from(buffer.len()).unwrap_or(u32::MAX);
            let fits = u64::from(at) + frame_bytes(record.payload.len()) <= target.size;
            if !fits || buffer.len() > GROUP_BYTES {
                break;
            }
            frame::encode(&mut buffer, target.number, group, at, record);
            count += 1;
        }
        let written = self.shared.disk.write(&target.file, &buffer, target.at);
        let mut room = self.shared.room();
        if let Err(error) = written {
            room.broken = Some((Instant::now(), NoRoom::Disk(error.to_string())));
            room.writable = false;
            if target.header.is_some() {
                // Nothing of it ever counted.
                room.segments.pop_back();
                self.shared.disk.remove(target.number).unwrap_or_default();
            }
            return Err(error);
        }
        room.broken = None;
        let end = target.at + u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        room.newest = Place { segment: target.number, at: end };
        if let Some(current) = room.segments.back_mut() {
            current.end = end;
        }
        let newest = room.newest;
        room.waiting.wrote(count as u64, newest, Instant::now());
        Ok(count)
    }

    /// The current segment where the next record fits, else a spare. A record that was admitted is written where there is
    /// any room at all, so the limit does not count here.
    fn target(&self, bytes: u64) -> io::Result<Target> {
        loop {
            {
                let mut room = self.shared.room();
                let writable = room.writable;
                if let Some(current) = room.segments.back().filter(|_| writable)
                    && u64::from(current.end) + bytes <= current.size
                {
                    let Segment { number, file, size, end } = current.clone();
                    return Ok(Target { number, file, size, at: end, header: None });
                }
                if let Some(spare) = room.spares.pop_front() {
                    let Place { segment: previous, at: previous_end } = room.newest;
                    let header = Header { number: spare.number, previous, previous_end };
                    let (number, file, size) = (spare.number, spare.file, room.config.segment_bytes());
                    room.segments.push_back(Segment { number, file: Arc::clone(&file), size, end: HEADER_BYTES });
                    room.writable = true;
                    return Ok(Target { number, file, size, at: 0, header: Some(header) });
                }
            }
            self.shared.make_spare(|room| room.spares.is_empty())?;
        }
    }
}

/// Whether requests run whose records may come while a write with `waiting` records waits. Those count as running, too.
fn others_may_share(running: usize, waiting: usize) -> bool {
    running.saturating_sub(waiting) >= MANY
}

const _: () = assert!(HEADER_BYTES as u64 + frame::MAX_FRAME_BYTES < 256 << 10, "a record fits every segment");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_waits_only_where_many_others_run() {
        let check =
            |running, waiting, waits| assert_eq!(others_may_share(running, waiting), waits, "{running} {waiting}");
        check(1, 1, false);
        check(MANY, 1, false);
        check(MANY + 1, 1, true);
        check(2 * MANY, MANY + 1, false);
        check(2 * MANY, MANY, true);
        check(0, 1, false);
    }
}
