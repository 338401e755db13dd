//! Filling a batch up to its bounds.

use schemas::{Offset, PartitionId};

use crate::{Batch, Bounds, StoredRecord};

/// A batch that is being filled.
pub(crate) struct Filling {
    batch: Batch,
    bounds: Bounds,
    bytes: usize,
}

impl Filling {
    pub(crate) fn new(partition: PartitionId, from: Offset, bounds: Bounds) -> Self {
        Self { batch: Batch { partition, from, records: Vec::new(), next: from }, bounds, bytes: 0 }
    }

    /// Takes the record, or hands it back where it doesn't fit. The first always fits, so that a reader gets on.
    pub(crate) fn push(&mut self, record: StoredRecord) -> Result<(), StoredRecord> {
        let bytes = self.bytes.saturating_add(record.payload.len());
        if !self.batch.records.is_empty() && (self.is_full() || bytes > self.bounds.bytes) {
            return Err(record);
        }
        self.bytes = bytes;
        self.batch.next = record.offset.next();
        self.batch.records.push(record);
        Ok(())
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
    use bytes::Bytes;

    use super::*;

    /// Offers records of these sizes from offset 5 on, and tells how many were taken.
    fn check(bounds: (usize, usize), sizes: &[usize], expected: usize) {
        let (records, bytes) = bounds;
        let mut filling = Filling::new(PartitionId(2), Offset(5), Bounds { records, bytes });
        for (offset, size) in (5..).zip(sizes) {
            if filling.push(StoredRecord { offset: Offset(offset), payload: Bytes::from(vec![7; *size]) }).is_err() {
                break;
            }
        }
        let batch = filling.finish();
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
    }
}
