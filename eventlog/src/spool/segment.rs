//! A segment: a file of zeros that is filled from its beginning. No I/O here.
//!
//! `magic 8 | number u64 | previous u64 | previous_end u64 | crc u32 | 0 u32`, then frames. The header goes out together
//! with the first records. `previous` and `previous_end` say which segment went before and how far it counts, so that
//! only the newest segment's end has to be found out. `number` is never used twice in a folder.

use bytes::Bytes;
use thiserror::Error;

use super::frame::{self, word};
use crate::Record;

const MAGIC: [u8; 8] = *b"MHSPOOL1";
/// Where the first frame begins.
pub(super) const HEADER_BYTES: u32 = 40;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    /// The segment before it; 0 where there was none.
    pub(super) previous: u64,
    /// Where that one ends.
    pub(super) previous_end: u32,
}

/// What a file begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing but zeros: never used.
    Unused,
    Header(Header),
    /// Something else.
    Broken,
}

/// The records of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Each with its place.
    pub(super) records: Vec<(u32, Record)>,
    /// Where the next one would begin.
    pub(super) end: u32,
    /// Bytes of a last write that did not get to its end; nobody was told that it is durable.
    pub(super) torn_bytes: usize,
}

/// Records that were durable can't be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is damaged at byte {at}")]
pub(super) struct Damage {
    pub(super) at: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        let fields = [&MAGIC[..], &self.number.to_le_bytes(), &self.previous.to_le_bytes()];
        let previous_end = u64::from(self.previous_end).to_le_bytes();
        let mut written = fields.concat();
        written.extend_from_slice(&previous_end);
        written.extend_from_slice(&crc32fast::hash(&written).to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(written) {
            *to = from;
        }
        bytes
    }
}

/// What the file of this number begins with.
pub(super) fn start(file: &[u8], number: u64) -> Start {
    if file.iter().all(|byte| *byte == 0) {
        return Start::Unused;
    }
    let long = |from: usize| u64::from(word(file, from)) | u64::from(word(file, from + 4)) << 32;
    let header = u32::try_from(long(24)).ok().map(|previous_end| Header { number, previous: long(16), previous_end });
    // Compared whole: every bit of a header counts.
    match header {
        Some(header) if file.starts_with(&header.encode()) => Start::Header(header),
        _ => Start::Broken,
    }
}

/// Reads a segment whose end is known.
pub(super) fn sealed(file: &Bytes, number: u64, end: u32) -> Result<Scan, Damage> {
    let file = file.slice(..file.len().min(end as usize));
    let (records, at) = frames(&file, number);
    if at == end { Ok(Scan { records, end, torn_bytes: 0 }) } else { Err(Damage { at }) }
}

/// Reads the newest segment and finds its end.
pub(super) fn newest(file: &Bytes, number: u64) -> Result<Scan, Damage> {
    let (records, end) = frames(file, number);
    let torn_bytes = torn(file, number, end)?;
    Ok(Scan { records, end, torn_bytes })
}

/// Looks at what follows the last whole frame: how many bytes up to the last that is not zero, or damage.
pub(super) fn torn(file: &Bytes, number: u64, end: u32) -> Result<usize, Damage> {
    let rest = file.get(end as usize..).unwrap_or_default();
    let Some(last) = rest.iter().rposition(|byte| *byte != 0) else { return Ok(0) };
    // A write may reach the disk in any order, so a whole frame after a broken one is a torn write, too. But one of a
    // later group proves that everything before that group was durable once.
    let later = (end..=end.saturating_add(u32::try_from(last).unwrap_or(u32::MAX)))
        .filter_map(|at| frame::decode(file, 0, number, at))
        .any(|frame| frame.group > end);
    if later { Err(Damage { at: end }) } else { Ok(last + 1) }
}

fn frames(file: &Bytes, number: u64) -> (Vec<(u32, Record)>, u32) {
    let mut records = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(frame) = frame::decode(file, 0, number, at) {
        records.push((at, frame.record));
        at += frame.bytes;
    }
    (records, at)
}

#[cfg(test)]
mod tests;
