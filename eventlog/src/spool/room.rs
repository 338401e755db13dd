//! How much the spool may still take. No I/O here.
//!
//! An admitted request's event must fit, whatever happens meanwhile, so its room is set aside in files that are there
//! already. A record is never divided between two segments, so the last [`MAX_FRAME_BYTES`] of a segment are not counted
//! on: the next record always fits either before them or into the next segment.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;

use tokio::time::Instant;

use super::frame::MAX_FRAME_BYTES;
use super::place::Place;
use super::segment::HEADER_BYTES;
use super::waiting::Waiting;
use super::{Config, NoRoom};

/// A segment with records.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: Arc<File>,
    /// Bytes of its file.
    pub(super) size: u64,
    /// Up to where it is durable.
    pub(super) end: u32,
}

/// A file of zeros that waits for its use.
#[derive(Clone, Debug)]
pub(super) struct Spare {
    pub(super) number: u64,
    pub(super) file: Arc<File>,
}

/// All files, and what they have room for.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) config: Config,
    /// Those with records that are not drained, oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// Whether the newest of `segments` takes more.
    pub(super) writable: bool,
    pub(super) spares: VecDeque<Spare>,
    /// The newest segment that was ever durable, and its end.
    pub(super) newest: Place,
    pub(super) next_number: u64,
    /// Set aside for admitted requests.
    pub(super) reserved: u64,
    /// How many those are.
    pub(super) running: usize,
    /// When and why the last write failed, until one succeeds: nothing is admitted.
    pub(super) broken: Option<(Instant, NoRoom)>,
    /// When and why the last growth failed: what room there is can be used up.
    pub(super) stuck: Option<(Instant, NoRoom)>,
    /// What is not in the log yet.
    pub(super) waiting: Waiting,
}

/// What a reservation needs before it can be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another segment.
    Grow,
    /// Nothing helps, for now.
    No(NoRoom),
}

/// What a segment of this size, filled up to `end`, can be counted on for.
fn usable(size: u64, end: u64) -> u64 {
    size.saturating_sub(end + MAX_FRAME_BYTES)
}

impl Room {
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let spares = self.spares.len() as u64 * self.config.segment_bytes();
        self.segments.iter().map(|segment| segment.size).sum::<u64>() + spares
    }

    /// What can still be promised.
    pub(super) fn free(&self) -> u64 {
        let current = self.segments.back().filter(|_| self.writable).map_or(0, |s| usable(s.size, u64::from(s.end)));
        let spare = usable(self.config.segment_bytes(), u64::from(HEADER_BYTES));
        (current + spare * self.spares.len() as u64).saturating_sub(self.reserved)
    }

    /// Whether the limit lets another segment in.
    pub(super) fn may_grow(&self) -> bool {
        self.bytes() + self.config.segment_bytes() <= self.config.max_bytes
    }

    /// Whether it is time to prepare another segment, so that no request has to wait for it.
    pub(super) fn is_low(&self) -> bool {
        self.free() < self.config.segment_bytes() / 2 && self.may_grow() && self.stuck.is_none()
    }

    /// Sets room aside. After a failed write, making another segment is the trial whether the trouble has passed.
    pub(super) fn reserve(&mut self, bytes: u64, now: Instant) -> Result<(), Refused> {
        let rests = |since: Instant| now.duration_since(since) < self.config.try_again;
        if let Some((since, why)) = &self.broken {
            let wait = rests(*since) || !self.may_grow();
            return Err(if wait { Refused::No(why.clone()) } else { Refused::Grow });
        }
        if bytes <= self.free() {
            self.reserved += bytes;
            self.running += 1;
            return Ok(());
        }
        if !self.may_grow() {
            return Err(Refused::No(NoRoom::Full { max_bytes: self.config.max_bytes }));
        }
        match &self.stuck {
            Some((since, why)) if rests(*since) => Err(Refused::No(why.clone())),
            _ => Err(Refused::Grow),
        }
    }

    /// A segment could be made, or not.
    pub(super) fn grown(&mut self, made: Result<Spare, NoRoom>, now: Instant) {
        match made {
            Ok(spare) => {
                self.spares.push_back(spare);
                (self.broken, self.stuck) = (None, None);
            }
            Err(why) => {
                if self.broken.is_some() {
                    self.broken = Some((now, why.clone()));
                }
                self.stuck = Some((now, why));
            }
        }
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
        self.running = self.running.saturating_sub(1);
    }
}
