//! Whether the log is the one that the store was folded from.

use accounting::ChainHash;
use eventlog::{Bounds, LogError};
use schemas::{Offset, PartitionId, Position};

use super::{Ledger, LedgerError};

impl Ledger {
    /// Asked before a ledger starts: the log has as many partitions as when the store was first folded from it, is as long as
    /// what is applied, and has in each partition the record that was applied last.
    ///
    /// # Errors
    /// [`LedgerError::is_of_the_log`] where it is not so. Any other error passes.
    pub async fn is_of_its_log(&self) -> Result<(), LedgerError> {
        let now = self.parts.log.partitions();
        let before = self.parts.store.log_partitions(now).await?;
        if now != before {
            return Err(LedgerError::OtherPartitions { now, before });
        }
        let ends = self.fits_the_log().await?;
        self.parts.store.floor(&ends).await?;
        for partition in (0..now).map(PartitionId) {
            if let Some((offset, applied)) = self.parts.store.last_record(partition).await? {
                self.holds(Position { partition, offset }, applied).await?;
            }
        }
        Ok(())
    }

    /// Where each partition of the log ends.
    ///
    /// # Errors
    /// [`LedgerError::AheadOfTheLog`]: folding would go on by itself as soon as the log is longer, and leave out every record
    /// until then. Any other error passes.
    pub async fn fits_the_log(&self) -> Result<Vec<(PartitionId, Offset)>, LedgerError> {
        let mut ends = Vec::new();
        for partition in (0..self.parts.log.partitions()).map(PartitionId) {
            // The position first: meanwhile records may be appended and applied.
            let applied = self.parts.store.head(partition).await?.next;
            let end = self.parts.log.end(partition).await;
            let end = end.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
            if applied > end {
                return Err(LedgerError::AheadOfTheLog { partition, applied, end });
            }
            ends.push((partition, end));
        }
        Ok(ends)
    }

    async fn holds(&self, position: Position, applied: ChainHash) -> Result<(), LedgerError> {
        let one = Bounds { records: 1, bytes: 0 };
        let found = match self.parts.log.read(position.partition, position.offset, one).await {
            Ok(batch) => batch.records.into_iter().next().filter(|record| record.offset == position.offset),
            Err(LogError::Lost(why)) => return Err(LedgerError::AnotherLog { position, why }),
            Err(error @ LogError::Unavailable(_)) => return Err(LedgerError::Unavailable(error.to_string())),
        };
        let why = match found {
            Some(record) if ChainHash::GENESIS.extend(record.offset, &record.payload) == applied => return Ok(()),
            Some(record) => format!("the log has another one there, of {} bytes", record.payload.len()),
            None => "the log has none there".to_owned(),
        };
        Err(LedgerError::AnotherLog { position, why })
    }
}
