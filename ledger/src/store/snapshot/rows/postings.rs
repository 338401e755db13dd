//! What became of records: postings with their transfers, and what is in quarantine.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use schemas::{AccountId, EventId, LotId, PartitionId, Position, Timestamp, Usd};
use sqlx::FromRow;
use uuid::Uuid;

use super::told;
use crate::store::StoreError;
use crate::store::read::{Money, fact_tag, json, offset, partition, unreadable};
use crate::store::snapshot::{StoredPosting, StoredQuarantine, StoredTransfer, Unreadable, keep};

#[derive(FromRow)]
pub(in crate::store) struct PostingRow {
    event_id: Uuid,
    account_id: Uuid,
    log_offset: i64,
    event_type: String,
    event_time: i64,
    amount_usd: Money,
    balance_usd: Money,
    detail: Option<String>,
    chain_tag: Option<i64>,
    fact_tag: i64,
}

#[derive(FromRow)]
pub(in crate::store) struct TransferRow {
    event_id: Uuid,
    idx: i64,
    debit: String,
    credit: String,
    commodity: String,
    amount: Money,
    code: String,
    lot_id: Option<Uuid>,
}

#[derive(FromRow)]
pub(in crate::store) struct QuarantineRow {
    partition_no: i64,
    log_offset: i64,
    event_id: Option<Uuid>,
    account_id: Option<Uuid>,
    reason: String,
    detail: String,
    record: Vec<u8>,
}

/// A row of `quarantine`, and where its event posted since.
#[derive(FromRow)]
pub(in crate::store) struct ListedRow {
    #[sqlx(flatten)]
    row: QuarantineRow,
    posted_partition: Option<i64>,
    posted_offset: Option<i64>,
}

/// Puts a partition's postings and their transfers together.
pub(in crate::store) fn postings(
    partition: PartitionId,
    rows: Vec<PostingRow>,
    transfers: Vec<TransferRow>,
    amount: fn(&str, Usd) -> Option<Decimal>,
    unreadable: &mut BTreeSet<Unreadable>,
) -> Vec<StoredPosting> {
    let mut by_event: BTreeMap<Uuid, Vec<StoredTransfer>> = BTreeMap::new();
    let transfers = transfers.into_iter().map(|row| {
        let (event, index) = (row.event_id, row.idx);
        let why = |error| told("transfers", None, None, format!("event {event}, transfer {index}: {error}"));
        Ok((event, row.read(amount).map_err(why)?))
    });
    for (event, transfer) in keep(transfers, unreadable) {
        by_event.entry(event).or_default().push(transfer);
    }
    let postings = rows.into_iter().map(|row| {
        let (event, account, at) = (row.event_id, row.account_id, row.log_offset);
        let transfers = by_event.remove(&event).unwrap_or_default();
        row.read(transfers).map_err(|error| {
            let position = offset(at).ok().map(|offset| Position { partition, offset });
            told("postings", position, Some(account), format!("event {event}: {error}"))
        })
    });
    keep(postings, unreadable)
}

impl PostingRow {
    fn read(self, transfers: Vec<StoredTransfer>) -> Result<StoredPosting, StoreError> {
        Ok(StoredPosting {
            event_id: EventId(self.event_id),
            account_id: AccountId(self.account_id),
            offset: offset(self.log_offset)?,
            event_type: self.event_type,
            time: Timestamp::from_micros(self.event_time),
            amount: self.amount_usd.0,
            balance: self.balance_usd.0,
            detail: self.detail.map(|detail| json("postings.detail", &detail)).transpose()?,
            chain_tag: self.chain_tag,
            fact_tag: fact_tag(self.fact_tag)?,
            transfers,
        })
    }
}

impl TransferRow {
    fn read(self, amount: fn(&str, Usd) -> Option<Decimal>) -> Result<StoredTransfer, StoreError> {
        let beyond = || unreadable("transfers.amount", format!("{} of {}", self.amount.0, self.commodity));
        let amount = amount(&self.commodity, self.amount.0).ok_or_else(beyond)?;
        Ok(StoredTransfer {
            index: u32::try_from(self.idx).map_err(|error| unreadable("transfers.idx", error))?,
            debit: self.debit,
            credit: self.credit,
            commodity: self.commodity,
            amount,
            code: self.code,
            lot: self.lot_id.map(LotId),
        })
    }
}

impl QuarantineRow {
    pub(in crate::store) fn read(self) -> Result<StoredQuarantine, StoreError> {
        Ok(StoredQuarantine {
            position: Position { partition: partition(self.partition_no)?, offset: offset(self.log_offset)? },
            event_id: self.event_id.map(EventId),
            account_id: self.account_id.map(AccountId),
            reason: self.reason,
            detail: self.detail,
            record: self.record.into(),
        })
    }
}

impl ListedRow {
    pub(in crate::store) fn read(self) -> Result<(StoredQuarantine, Option<Position>), StoreError> {
        let posted = match (self.posted_partition, self.posted_offset) {
            (Some(at), Some(offset_in)) => Some(Position { partition: partition(at)?, offset: offset(offset_in)? }),
            _ => None,
        };
        Ok((self.row.read()?, posted))
    }
}
