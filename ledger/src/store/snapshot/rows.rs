//! Rows as the databases give them, and what they mean. A row that means nothing is an error that names it.

mod accounts;
mod postings;

use schemas::{AccountId, Offset, PartitionId, Position};
use sqlx::FromRow;
use uuid::Uuid;

pub(in crate::store) use self::accounts::{AccountRow, KeyRow, LotRow, accounts, ids};
pub(in crate::store) use self::postings::{ListedRow, PostingRow, QuarantineRow, TransferRow, postings};
use crate::store::read::{HeadRow, partition, unreadable};
use crate::store::snapshot::Counts;
use crate::store::{Head, StoreError};

#[derive(FromRow)]
pub(in crate::store) struct PartitionHeadRow {
    partition_no: i64,
    #[sqlx(flatten)]
    head: HeadRow,
}

#[derive(FromRow)]
pub(in crate::store) struct CountsRow {
    account_id: Uuid,
    postings: i64,
    transfers: i64,
}

#[derive(FromRow)]
pub(in crate::store) struct PlaceRow {
    partition_no: i64,
    log_offset: i64,
}

impl PartitionHeadRow {
    pub(in crate::store) fn read(self) -> Result<(PartitionId, Head), StoreError> {
        Ok((partition(self.partition_no)?, self.head.read()?))
    }
}

fn count(what: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|error| unreadable(what, error))
}

impl CountsRow {
    pub(in crate::store) fn read(&self) -> Result<(AccountId, Counts), StoreError> {
        let count = |value| count("a count", value);
        let counts = Counts { postings: count(self.postings)?, transfers: count(self.transfers)? };
        Ok((AccountId(self.account_id), counts))
    }
}

impl PlaceRow {
    /// A negative offset is no place in a log; the partition's begin is where to look.
    pub(in crate::store) fn read(&self) -> Result<Position, StoreError> {
        let offset = Offset(u64::try_from(self.log_offset).unwrap_or(0));
        Ok(Position { partition: partition(self.partition_no)?, offset })
    }
}
