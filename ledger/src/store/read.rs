//! What both adapters read, and from a row's plain values to what they mean. A row that means nothing is an error that
//! names it.

use std::collections::BTreeMap;

use accounting::{AccountState, ChainHash, FactTag};
use rust_decimal::Decimal;
use schemas::api::{AccountView, EntryDetail, KeyView, StatementEntry};
use schemas::event::KeyHash;
use schemas::{AccountId, EventId, KeyId, Offset, PartitionId, Position, Timestamp, Usd};
use serde::Deserialize;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Encode, FromRow, Postgres, Sqlite, Type};
use uuid::Uuid;

use super::{Fate, Head, PostedEvent, StoreError, StoredAccount};
use crate::sink::view;

pub(super) const HEAD: &str = "SELECT next_offset, chain FROM positions WHERE partition_no = $1";

pub(super) const LAST_RECORD: &str = "SELECT next_offset, last_record FROM positions WHERE partition_no = $1";

pub(super) const SAY_PARTITIONS: &str = "INSERT INTO log (one, partitions) VALUES (1, $1) ON CONFLICT (one) DO NOTHING";

pub(super) const PARTITIONS: &str = "SELECT partitions FROM log";

/// The view's version is the last record of the partition that is folded, whether it changed the account or not.
pub(super) const KEY: &str = "\
    SELECT k.key_id, a.partition_no, a.state, p.next_offset - 1 AS version_offset
    FROM keys k JOIN accounts a ON a.account_id = k.account_id JOIN positions p ON p.partition_no = a.partition_no
    WHERE k.hash = $1 ORDER BY k.account_id, k.key_id LIMIT 1";

pub(super) const ENTRIES: &str = "\
    SELECT event_id, log_offset, event_time, amount_usd, balance_usd, CAST(detail AS text) AS detail
    FROM postings WHERE account_id = $1 AND log_offset > $2 AND detail IS NOT NULL ORDER BY log_offset LIMIT $3";

pub(super) const BALANCE_AT: &str = "\
    SELECT balance_usd FROM postings
    WHERE account_id = $1 AND log_offset <= $2 AND detail IS NOT NULL ORDER BY log_offset DESC LIMIT 1";

pub(super) const POSTED_EVENT: &str = "\
    SELECT account_id, partition_no, log_offset, amount_usd, balance_usd, CAST(detail AS text) AS detail
    FROM postings WHERE event_id = $1";

pub(super) const DUE: &str = "\
    SELECT account_id FROM renewals WHERE due_at <= $1 AND ($2 IS NULL OR account_id > $2)
    ORDER BY account_id LIMIT $3";

/// A period's end is written rarely, so one statement an account is enough.
pub(super) const RENEWAL: &str = "\
    INSERT INTO renewals (account_id, due_at) VALUES ($1, $2)
    ON CONFLICT (account_id) DO UPDATE SET due_at = excluded.due_at";

pub(super) const NO_RENEWAL: &str = "DELETE FROM renewals WHERE account_id = $1";

/// One statement, so that position and postings are of one moment.
pub(super) const AMOUNTS: &str = "\
    SELECT h.next_offset, p.log_offset, p.amount_usd
    FROM positions h LEFT JOIN postings p
        ON p.partition_no = h.partition_no AND p.log_offset >= $2 AND p.log_offset < $3
    WHERE h.partition_no = $1";

pub(super) const POSTED: &str = "SELECT account_id, amount_usd, balance_usd FROM postings WHERE event_id = $1";

pub(super) const QUARANTINED: &str = "\
    SELECT reason, detail FROM quarantine WHERE partition_no = $1 AND log_offset = $2 AND event_id = $3";

pub(super) const CONTACT: &str = "SELECT account_id FROM contacts WHERE email = $1";

pub(super) const CLAIM_CONTACT: &str = "\
    INSERT INTO contacts (email, account_id, created_at) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING";

/// An amount as either database keeps it: exact decimals, or a count of 10⁻¹² USD.
#[derive(Clone, Copy)]
pub(super) struct Money(pub(super) Usd);

impl Type<Sqlite> for Money {
    fn type_info() -> <Sqlite as Database>::TypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }
}

impl<'r> Decode<'r, Sqlite> for Money {
    fn decode(value: <Sqlite as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(Usd::from_pico(<i64 as Decode<'r, Sqlite>>::decode(value)?)))
    }
}

impl Type<Postgres> for Money {
    fn type_info() -> <Postgres as Database>::TypeInfo {
        <Decimal as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Money {
    fn decode(value: <Postgres as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(Usd::from_decimal(<Decimal as Decode<'r, Postgres>>::decode(value)?)?))
    }
}

impl Encode<'_, Sqlite> for Money {
    fn encode_by_ref(&self, buffer: &mut <Sqlite as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let pico = self.0.to_pico().ok_or_else(|| format!("{} USD is beyond what it keeps exactly", self.0))?;
        <i64 as Encode<'_, Sqlite>>::encode(pico, buffer)
    }
}

impl Encode<'_, Postgres> for Money {
    fn encode_by_ref(&self, buffer: &mut <Postgres as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <Decimal as Encode<'_, Postgres>>::encode(self.0.as_decimal(), buffer)
    }
}

/// An offset as databases keep it. It counts records, and stays far from a signed integer's end.
pub(super) fn signed(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

pub(super) fn offset(value: i64) -> Result<Offset, StoreError> {
    u64::try_from(value).map(Offset).map_err(|_| unreadable("offset", value))
}

fn hash32(value: &[u8]) -> Result<[u8; 32], StoreError> {
    value.try_into().map_err(|_| unreadable("hash of length", value.len()))
}

pub(super) fn partition(value: i64) -> Result<PartitionId, StoreError> {
    u32::try_from(value).map(PartitionId).map_err(|_| unreadable("partition", value))
}

pub(super) fn partitions(value: i64) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_| unreadable("number of partitions", value))
}

pub(super) fn json<'de, T: Deserialize<'de>>(what: &'static str, text: &'de str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| unreadable(what, error))
}

pub(super) fn unreadable(what: &'static str, cause: impl std::fmt::Display) -> StoreError {
    StoreError::unavailable("read a row", format!("{what}: {cause}"))
}

/// A row of `positions`.
#[derive(FromRow)]
pub(super) struct HeadRow {
    next_offset: i64,
    chain: Vec<u8>,
}

/// The last applied record, in a row of `positions`.
#[derive(FromRow)]
pub(super) struct LastRecordRow {
    next_offset: i64,
    last_record: Vec<u8>,
}

impl LastRecordRow {
    pub(super) fn read(self) -> Result<(Offset, ChainHash), StoreError> {
        Ok((offset(self.next_offset - 1)?, ChainHash(hash32(&self.last_record)?)))
    }
}

/// The fact that an event id stands for.
#[derive(FromRow)]
pub(super) struct TagRow {
    event_id: Uuid,
    fact_tag: i64,
}

impl TagRow {
    pub(super) fn read(self) -> Result<(EventId, FactTag), StoreError> {
        Ok((EventId(self.event_id), fact_tag(self.fact_tag)?))
    }
}

pub(super) fn fact_tag(value: i64) -> Result<FactTag, StoreError> {
    u32::try_from(value).map(FactTag).map_err(|_| unreadable("postings.fact_tag", value))
}

/// A row of `postings`, for whoever waits for it.
#[derive(FromRow)]
pub(super) struct PostedRow {
    account_id: Uuid,
    amount_usd: Money,
    balance_usd: Money,
}

/// A row of `postings`, for whoever asks what an event did.
#[derive(FromRow)]
pub(super) struct PostedEventRow {
    account_id: Uuid,
    partition_no: i64,
    log_offset: i64,
    amount_usd: Money,
    balance_usd: Money,
    detail: Option<String>,
}

impl PostedEventRow {
    pub(super) fn read(self) -> Result<PostedEvent, StoreError> {
        Ok(PostedEvent {
            account: AccountId(self.account_id),
            position: Position { partition: partition(self.partition_no)?, offset: offset(self.log_offset)? },
            amount: self.amount_usd.0,
            balance: self.balance_usd.0,
            detail: self.detail.map(|detail| json("postings.detail", &detail)).transpose()?,
        })
    }
}

/// A partition's position of record, with a row of `postings` or none.
#[derive(FromRow)]
pub(super) struct AmountRow {
    next_offset: i64,
    log_offset: Option<i64>,
    amount_usd: Option<Money>,
}

/// The amounts of [`AMOUNTS`].
pub(super) fn amounts(rows: Vec<AmountRow>, to: Offset) -> Result<Option<BTreeMap<Offset, Usd>>, StoreError> {
    let next = rows.first().map_or(Ok(Offset(0)), |row| offset(row.next_offset))?;
    if next < to {
        return Ok(None);
    }
    let posted = rows.into_iter().filter_map(|row| Some((row.log_offset?, row.amount_usd?.0)));
    posted.map(|(at, amount)| Ok((offset(at)?, amount))).collect::<Result<_, _>>().map(Some)
}

/// A row of `quarantine`, likewise.
#[derive(FromRow)]
pub(super) struct QuarantinedRow {
    reason: String,
    detail: String,
}

/// A row of `accounts`.
#[derive(FromRow)]
pub(super) struct AccountRow {
    pub(super) account_id: Uuid,
    partition_no: i64,
    state: String,
}

/// A row of `keys` with its account's.
#[derive(FromRow)]
pub(super) struct KeyViewRow {
    key_id: Uuid,
    partition_no: i64,
    state: String,
    version_offset: i64,
}

/// A row of `postings` with a detail.
#[derive(FromRow)]
pub(super) struct EntryRow {
    event_id: Uuid,
    log_offset: i64,
    event_time: i64,
    amount_usd: Money,
    balance_usd: Money,
    detail: String,
}

/// Accounts by id.
pub(super) fn accounts(rows: &[AccountRow]) -> Result<BTreeMap<AccountId, StoredAccount>, StoreError> {
    rows.iter().map(|row| Ok((AccountId(row.account_id), row.read()?))).collect()
}

fn state(document: &str) -> Result<AccountState, StoreError> {
    AccountState::from_document(document).map_err(|error| unreadable("accounts.state", error))
}

impl HeadRow {
    pub(super) fn read(self) -> Result<Head, StoreError> {
        Ok(Head { next: offset(self.next_offset)?, chain: ChainHash(hash32(&self.chain)?) })
    }
}

impl PostedRow {
    pub(super) fn read(self) -> Fate {
        let Self { account_id, amount_usd, balance_usd } = self;
        Fate::Posted { account: AccountId(account_id), amount: amount_usd.0, balance: balance_usd.0 }
    }
}

impl QuarantinedRow {
    pub(super) fn read(self) -> Fate {
        Fate::Quarantined { reason: self.reason, detail: self.detail }
    }
}

impl AccountRow {
    pub(super) fn read(&self) -> Result<StoredAccount, StoreError> {
        let of = |error: StoreError| unreadable("accounts", format!("account {}: {error}", self.account_id));
        Ok(StoredAccount { partition: partition(self.partition_no)?, state: state(&self.state).map_err(of)? })
    }
}

impl KeyViewRow {
    pub(super) fn read(&self, hash: KeyHash) -> Result<KeyView, StoreError> {
        let state = state(&self.state)?;
        let balance =
            state.balance().ok_or_else(|| unreadable("accounts.state", "its balance is beyond exact money"))?;
        let account = view(partition(self.partition_no)?, &state, balance);
        let version = Position { offset: offset(self.version_offset)?, ..account.version };
        let account = AccountView { version, ..account };
        let key_id = KeyId(self.key_id);
        let key = state.keys.get(&key_id).ok_or_else(|| unreadable("accounts.state", "it lacks one of its keys"))?;
        Ok(KeyView { key_id, hash, limits: key.limits.clone(), used: key.used, account })
    }
}

impl EntryRow {
    pub(super) fn read(self) -> Result<StatementEntry, StoreError> {
        let detail: EntryDetail = json("postings.detail", &self.detail)?;
        Ok(StatementEntry {
            event_id: EventId(self.event_id),
            offset: offset(self.log_offset)?,
            time: Timestamp::from_micros(self.event_time),
            amount_usd: self.amount_usd.0,
            balance_usd: self.balance_usd.0,
            detail,
        })
    }
}
