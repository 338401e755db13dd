//! What a folder of segments holds when a process starts.

use std::collections::BTreeMap;
use std::io;

use thiserror::Error;

use super::disk::Disk;
use super::place::Place;
use super::segment::{self, Damage, HEADER_BYTES, Header, Start};
use crate::Record;

/// In place of a byte: the whole segment is drained, and its file may be gone.
pub(super) const WHOLE: u32 = u32::MAX;

/// A segment that holds records which are not drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) number: u64,
    pub(super) end: u32,
}

/// What is left of the process before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recovered {
    /// Segments that are not drained, in order.
    pub(super) segments: Vec<Left>,
    /// The newest segment there ever was, and its end: what the next one goes on from.
    pub(super) newest: Place,
    /// From where on to drain.
    pub(super) drained: Place,
    /// Above every number that was ever used.
    pub(super) next_number: u64,
}

/// Why a spool can't be read.
#[derive(Debug, Error)]
pub(super) enum RecoverError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("segment {number:016x}: {damage}")]
    Damaged { number: u64, damage: Damage },
    #[error("segment {0:016x} is missing, or not readable from its first byte on")]
    Missing(u64),
}

/// Reads all segments, oldest first, and gives every record that is not drained to `waiting`. Removes what is drained or
/// was never used, and cuts what does not count. Changes nothing where something is damaged.
pub(super) fn recover(disk: &Disk, mut waiting: impl FnMut(&Record)) -> Result<Recovered, RecoverError> {
    let noted = disk.drained()?;
    let drained = noted.unwrap_or_default();
    let numbers = disk.numbers()?;
    let found = find(disk, &numbers)?;
    if drained.at < WHOLE && drained.segment > 0 && !found.headers.contains_key(&drained.segment) {
        return Err(RecoverError::Missing(drained.segment));
    }
    let mut segments = Vec::new();
    for left in chain(&found, noted)? {
        let file = disk.read(left.number)?;
        let scan = segment::sealed(&file, left.number, left.end).map_err(|damage| damaged(left.number, damage))?;
        let place = |at| Place { segment: left.number, at };
        for (_, record) in scan.records.iter().filter(|(at, _)| place(*at) >= drained) {
            waiting(record);
        }
        segments.push(left);
    }
    let last = found.newest.segment.max(drained.segment);
    let drained = match segments.first() {
        Some(first) => drained.max(Place { segment: first.number, at: HEADER_BYTES }),
        None => Place { segment: last, at: WHOLE },
    };
    disk.note_drained(drained, true)?;
    for number in &numbers {
        match segments.iter().find(|left| left.number == *number) {
            Some(left) => disk.truncate(*number, left.end)?,
            None => disk.remove(*number)?,
        }
    }
    let next_number = numbers.last().copied().unwrap_or(0).max(last) + 1;
    let newest = if found.newest.segment < last { drained } else { found.newest };
    Ok(Recovered { segments, newest, drained, next_number })
}

/// The segments' files as they are.
struct Found {
    headers: BTreeMap<u64, Header>,
    /// The end of the newest one; 0 where there is none.
    newest: Place,
}

fn find(disk: &Disk, numbers: &[u64]) -> Result<Found, RecoverError> {
    let mut found = Found { headers: BTreeMap::new(), newest: Place::default() };
    for number in numbers.iter().rev().copied() {
        let file = disk.read(number)?;
        let is_newest = found.headers.is_empty();
        match segment::start(&file, number) {
            Start::Header(header) => {
                if is_newest {
                    let scan = segment::newest(&file, number).map_err(|damage| damaged(number, damage))?;
                    tell_torn(disk, number, scan.end, scan.torn_bytes);
                    found.newest = Place { segment: number, at: scan.end };
                }
                found.headers.insert(number, header);
            }
            Start::Broken if is_newest => {
                let torn_bytes = segment::torn(&file, number, 0).map_err(|damage| damaged(number, damage))?;
                tell_torn(disk, number, 0, torn_bytes);
            }
            // One that a later segment goes on from is missed there.
            Start::Broken | Start::Unused => {}
        }
    }
    Ok(found)
}

fn tell_torn(disk: &Disk, number: u64, at: u32, bytes: usize) {
    if bytes > 0 {
        let file = disk.path(number);
        tracing::warn!(
            file = %file.display(), at, bytes,
            "the spool's last write was cut short and does not count; nobody was told that it is durable"
        );
    }
}

/// The segments that are not drained, in order: from the newest back, as each names the one before it. Where it is not
/// known how far they are drained, back to the oldest that is there.
fn chain(found: &Found, noted: Option<Place>) -> Result<Vec<Left>, RecoverError> {
    let mut chain = Vec::new();
    let mut place = found.newest;
    while place.segment > 0 && noted.is_none_or(|drained| place > drained) {
        let Some(header) = found.headers.get(&place.segment) else {
            if noted.is_none() {
                break;
            }
            return Err(RecoverError::Missing(place.segment));
        };
        chain.push(Left { number: place.segment, end: place.at });
        // Numbers grow, so this ends.
        if header.previous >= place.segment {
            return Err(damaged(place.segment, Damage { at: 0 }));
        }
        place = Place { segment: header.previous, at: header.previous_end };
    }
    chain.reverse();
    Ok(chain)
}

fn damaged(number: u64, damage: Damage) -> RecoverError {
    RecoverError::Damaged { number, damage }
}

#[cfg(test)]
mod tests;
