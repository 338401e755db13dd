//! Why there is no batch.

use schemas::{Offset, PartitionId};

use crate::LogError;

/// Why there is no batch.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It may pass: worth trying again.
    Passing(String),
    /// Trying again can't help, and going on would skip records.
    Lost(String),
}

impl ReadError {
    pub(crate) fn no_partition(partition: PartitionId, partitions: u32) -> Self {
        Self::Lost(format!("there is no partition {partition}: the log has {partitions}"))
    }

    /// A position outside the log is another log's, or the log has lost records.
    pub(crate) fn out_of_range(partition: PartitionId, asked: Offset, start: Offset, end: Offset) -> Self {
        Self::Lost(format!(
            "partition {partition} holds offsets from {start} to before {end}, and {asked} was asked for: either the \
             position is another log's, and the reader's store must be rebuilt from this one, or this log has lost \
             records, and must be restored"
        ))
    }

    pub(crate) fn gap(partition: PartitionId, expected: Offset, found: Offset) -> Self {
        Self::Lost(format!("partition {partition} has lost records: offset {found} comes where {expected} should"))
    }
}

impl From<ReadError> for LogError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Passing(error) => Self::Unavailable(error),
            ReadError::Lost(error) => Self::Lost(error),
        }
    }
}
