//! One record as bytes: `length u32 | group u32 | crc u32 | key 16 bytes | payload`, little-endian.
//!
//! `length` counts key and payload. `group` is where the write that the record belongs to begins: one write, one
//! `fdatasync`, so whatever lies before a group is durable once the group is there. The checksum (CRC-32, ISO-HDLC)
//! covers everything and the frame's own place, so bytes of another place or another file are never taken for a record.

use bytes::Bytes;
use crc32fast::Hasher;
use schemas::AccountId;
use uuid::Uuid;

use crate::Record;

/// Bytes before the key.
const HEAD_BYTES: usize = 12;
const KEY_BYTES: usize = 16;

/// The largest payload. A usage event has about a kilobyte.
pub(super) const MAX_PAYLOAD_BYTES: usize = 16 << 10;
/// The most bytes that one record takes.
pub(super) const MAX_FRAME_BYTES: u64 = frame_bytes(MAX_PAYLOAD_BYTES);

/// How many bytes a payload of this size takes.
pub(super) const fn frame_bytes(payload_bytes: usize) -> u64 {
    (HEAD_BYTES + KEY_BYTES + payload_bytes) as u64
}

/// A frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where its group begins.
    pub(super) group: u32,
    /// How many bytes it takes.
    pub(super) bytes: u32,
    pub(super) record: Record,
}

/// Adds a record's frame. `at` is its place in the file of segment `segment`.
pub(super) fn encode(into: &mut Vec<u8>, segment: u64, group: u32, at: u32, record: &Record) {
    // Callers have checked the payload's size.
    let length = u32::try_from(KEY_BYTES + record.payload.len()).unwrap_or(u32::MAX);
    let key = record.key.0.as_bytes();
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(&group.to_le_bytes());
    into.extend_from_slice(&checksum(segment, at, length, group, &[key, &record.payload]).to_le_bytes());
    into.extend_from_slice(key);
    into.extend_from_slice(&record.payload);
}

/// Reads the frame at `at` of segment `segment`, of whose file `bytes` begins at byte `base`; `None` where there is no
/// whole one.
pub(super) fn decode(bytes: &Bytes, base: u32, segment: u64, at: u32) -> Option<Frame> {
    let rest = bytes.get(at.checked_sub(base)? as usize..)?;
    let (head, rest) = rest.split_first_chunk::<HEAD_BYTES>()?;
    let [length, group, crc] = [0, 4, 8].map(|from| word(head, from));
    let body = rest.get(..length as usize)?;
    if !(KEY_BYTES..=KEY_BYTES + MAX_PAYLOAD_BYTES).contains(&body.len()) || group > at {
        return None;
    }
    if checksum(segment, at, length, group, &[body]) != crc {
        return None;
    }
    let (key, payload) = body.split_first_chunk::<KEY_BYTES>()?;
    let record = Record { key: AccountId(Uuid::from_bytes(*key)), payload: bytes.slice_ref(payload) };
    Some(Frame { group, bytes: u32::try_from(HEAD_BYTES).ok()? + length, record })
}

/// The four bytes from `from` on, as a number.
pub(super) fn word(bytes: &[u8], from: usize) -> u32 {
    bytes.get(from..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

fn checksum(segment: u64, at: u32, length: u32, group: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(&length.to_le_bytes());
    hasher.update(&group.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}
