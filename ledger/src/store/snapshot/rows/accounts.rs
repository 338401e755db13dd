//! Accounts, and the lots and keys beside them.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{AccountId, KeyId, LotId, Timestamp};
use sqlx::FromRow;
use uuid::Uuid;

use super::count;
use crate::store::read::{Money, json, offset, unreadable};
use crate::store::snapshot::{AccountColumns, AccountRows, KeyColumns, LotColumns};
use crate::store::{StoreError, StoredAccount};

#[derive(FromRow)]
pub(in crate::store) struct AccountRow {
    pub(in crate::store) account_id: Uuid,
    status: String,
    plan: String,
    opened_at: i64,
    lots_opened: i64,
    debt_usd: Money,
    balance_usd: Money,
    version_offset: i64,
}

#[derive(FromRow)]
pub(in crate::store) struct LotRow {
    account_id: Uuid,
    lot_id: Uuid,
    source: String,
    amount_usd: Money,
    remaining_usd: Money,
    priority: i64,
    sequence: i64,
    expires_at: Option<i64>,
}

#[derive(FromRow)]
pub(in crate::store) struct KeyRow {
    account_id: Uuid,
    key_id: Uuid,
    hash: Vec<u8>,
    name: String,
    hint: String,
}

impl AccountRow {
    fn read(&self) -> Result<AccountColumns, StoreError> {
        Ok(AccountColumns {
            status: self.status.clone(),
            plan: json("accounts.plan", &self.plan)?,
            opened_at: Timestamp::from_micros(self.opened_at),
            lots_opened: count("accounts.lots_opened", self.lots_opened)?,
            debt: self.debt_usd.0,
            balance: self.balance_usd.0,
            version: offset(self.version_offset)?,
        })
    }
}

impl LotRow {
    fn read(self) -> Result<LotColumns, StoreError> {
        Ok(LotColumns {
            source: self.source,
            amount: self.amount_usd.0,
            remaining: self.remaining_usd.0,
            priority: self.priority,
            sequence: count("lots.sequence", self.sequence)?,
            expires_at: self.expires_at.map(Timestamp::from_micros),
        })
    }
}

/// Puts a page of accounts together, in the order of `rows`.
pub(in crate::store) fn accounts(
    rows: &[AccountRow],
    mut states: BTreeMap<AccountId, StoredAccount>,
    lots: Vec<LotRow>,
    keys: Vec<KeyRow>,
) -> Result<Vec<AccountRows>, StoreError> {
    let mut lots_of: BTreeMap<Uuid, BTreeMap<LotId, LotColumns>> = BTreeMap::new();
    for row in lots {
        lots_of.entry(row.account_id).or_default().insert(LotId(row.lot_id), row.read()?);
    }
    let mut keys_of: BTreeMap<Uuid, BTreeMap<KeyId, KeyColumns>> = BTreeMap::new();
    for KeyRow { account_id, key_id, hash, name, hint } in keys {
        keys_of.entry(account_id).or_default().insert(KeyId(key_id), KeyColumns { hash, name, hint });
    }
    let lost = |id: Uuid| unreadable("accounts", format!("account {id} is gone within a snapshot"));
    let account = |row: &AccountRow| {
        Ok(AccountRows {
            account: states.remove(&AccountId(row.account_id)).ok_or_else(|| lost(row.account_id))?,
            columns: row.read()?,
            lots: lots_of.remove(&row.account_id).unwrap_or_default(),
            keys: keys_of.remove(&row.account_id).unwrap_or_default(),
        })
    };
    rows.iter().map(account).collect()
}

pub(in crate::store) fn ids(rows: &[AccountRow]) -> BTreeSet<AccountId> {
    rows.iter().map(|row| AccountId(row.account_id)).collect()
}
