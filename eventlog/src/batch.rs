//! Filling a batch up to its bounds.

use bytes::BytesMut;
use schemas::{Offset, PartitionId};

use crate::{Batch, Bounds, StoredRecord};

/// Payloads share pieces of memory of this size, in bytes: large enough that they cost one allocation for many, and small
/// enough that memory is used again rather than asked of the system each time.
const PIECE: usize = 64 << 10;

/// A batch that is being filled.
pub(crate) struct Filling {
    batch: Batch,
    bounds: Bounds,
    bytes: usize,
    /// What is left of the last piece.
    piece: BytesMut,
}

impl Filling {
    pub(crate) fn new(partition: PartitionId, from: Offset, bounds: Bounds) -> Self {
        Self {
            batch: Batch { partition, from, records: Vec::new(), next: from },
            bounds,
            bytes: 0,
            piece: BytesMut::new(),
        }
    }

    /// Takes a copy of the record, or tells that it doesn't fit. The first always fits, so that a reader gets on.
    #[must_use]
    pub(crate) fn push(&mut self, offset: Offset, payload: &[u8]) -> bool {
        let bytes = self.bytes.saturating_add(payload.len());
        if !self.batch.records.is_empty() && (self.is_full() || bytes > self.bounds.bytes) {
            return false;
        }
        if self.piece.capacity() < payload.len() {
            self.piece = BytesMut::with_capacity(payload.len().max(PIECE));
        }
        self.piece.extend_from_slice(payload);
        self.bytes = bytes;
        self.batch.next = offset.next();
        self.batch.records.push(StoredRecord { offset, payload: self.piece.split().freeze() });
        true
    }

    /// Whether not even an empty record would fit.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.records.len() >= self.bounds.records.max(1)
    }

    /// The reader's position after what is in the batch so far.
    pub(crate) fn next(&self) -> Offset {
        self.batch.next
    }

    pub(crate) fn finish(self) -> Batch {
        self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offers records of these sizes from offset 5 on, and tells how many were taken.
    fn check(bounds: (usize, usize), sizes: &[usize], expected: usize) {
        let (records, bytes) = bounds;
        let mut filling = Filling::new(PartitionId(2), Offset(5), Bounds { records, bytes });
        for (offset, size) in (5..).zip(sizes) {
            let payload = vec![u8::try_from(offset % 251).unwrap(); *size];
            if !filling.push(Offset(offset), &payload) {
                break;
            }
        }
        let batch = filling.finish();
        for (record, (offset, size)) in batch.records.iter().zip((5_u64..).zip(sizes)) {
            assert_eq!(record.offset, Offset(offset));
            assert_eq!(record.payload, vec![u8::try_from(offset % 251).unwrap(); *size], "{bounds:?} {sizes:?}");
        }
        assert_eq!(batch.records.len(), expected, "{bounds:?} {sizes:?}");
        assert_eq!((batch.partition, batch.from, batch.next), (PartitionId(2), Offset(5), Offset(5 + expected as u64)));
    }

    #[test]
    fn fills_up_to_its_bounds_and_always_takes_one() {
        check((10, 100), &[], 0);
        check((2, 100), &[1, 1, 1], 2);
        check((10, 100), &[50, 50, 1], 2);
        check((10, 100), &[50, 50, 0, 0], 4);
        check((10, 100), &[101, 0], 1);
        check((10, 100), &[1, 100], 1);
        check((0, 0), &[3, 0], 1);
        check((1_000, 1 << 20), &[700; 300], 300);
        check((10, 1 << 20), &[PIECE - 1, 1, 1, PIECE + 1, 0, 2 * PIECE], 6);
    }
}
