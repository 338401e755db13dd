//! Rows as the databases give them, and what they mean. A row that means nothing is an error that names it.

mod accounts;
mod postings;

use schemas::{AccountId, PartitionId, Position};
use sqlx::FromRow;
use uuid::Uuid;

pub(in crate::store) use self::accounts::{AccountRow, KeyRow, LotRow, accounts, follows};
pub(in crate::store) use self::postings::{ListedRow, PostingRow, QuarantineRow, TransferRow, postings};
use crate::store::read::{HeadRow, offset, partition, unreadable};
use crate::store::snapshot::{Counts, Unreadable};
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
    pub(in crate::store) fn read(self) -> Result<(PartitionId, Head), Unreadable> {
        let number = self.partition_no;
        let read = || Ok((partition(number)?, self.head.read()?));
        read().map_err(|error: StoreError| told("positions", None, None, format!("partition {number}: {error}")))
    }
}

/// A row that means nothing.
fn told(
    table: &'static str,
    position: Option<Position>,
    account: Option<Uuid>,
    why: impl std::fmt::Display,
) -> Unreadable {
    Unreadable { table, position, account: account.map(AccountId), why: why.to_string() }
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
    pub(in crate::store) fn read(&self) -> Result<Position, Unreadable> {
        let (partition_no, log_offset) = (self.partition_no, self.log_offset);
        let read = || Ok(Position { partition: partition(partition_no)?, offset: offset(log_offset)? });
        read().map_err(|_: StoreError| {
            let why = format!("{partition_no}:{log_offset} is no place in a log (nor would it be in `quarantine`)");
            told("postings", None, None, why)
        })
    }
}
