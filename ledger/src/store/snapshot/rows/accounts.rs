//! Accounts, and the lots and keys beside them.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{AccountId, KeyId, LotId, Timestamp};
use sqlx::FromRow;
use uuid::Uuid;

use super::{count, told};
use crate::store::StoreError;
use crate::store::read::{self, Money, json, offset};
use crate::store::snapshot::{AccountColumns, AccountRows, KeyColumns, LotColumns, Unreadable, keep};

#[derive(FromRow)]
pub(in crate::store) struct AccountRow {
    #[sqlx(flatten)]
    state: read::AccountRow,
    status: String,
    plan: String,
    opened_at: i64,
    lots_opened: i64,
    debt_usd: Money,
    balance_usd: Money,
    version_offset: i64,
    due_at: Option<i64>,
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
            due_at: self.due_at.map(Timestamp::from_micros),
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
    lots: Vec<LotRow>,
    keys: Vec<KeyRow>,
    unreadable: &mut BTreeSet<Unreadable>,
) -> Vec<AccountRows> {
    let mut lots_of: BTreeMap<Uuid, BTreeMap<LotId, LotColumns>> = BTreeMap::new();
    let lots = lots.into_iter().map(|row| {
        let (account, lot) = (row.account_id, row.lot_id);
        let why = |error| told("lots", None, Some(account), format!("lot {lot}: {error}"));
        Ok((account, LotId(lot), row.read().map_err(why)?))
    });
    for (account, lot, columns) in keep(lots, unreadable) {
        lots_of.entry(account).or_default().insert(lot, columns);
    }
    let mut keys_of: BTreeMap<Uuid, BTreeMap<KeyId, KeyColumns>> = BTreeMap::new();
    for KeyRow { account_id, key_id, hash, name, hint } in keys {
        keys_of.entry(account_id).or_default().insert(KeyId(key_id), KeyColumns { hash, name, hint });
    }
    let accounts = rows.iter().map(|row| {
        let id = row.state.account_id;
        let why = |error| told("accounts", None, Some(id), error);
        Ok(AccountRows {
            id: AccountId(id),
            account: row.state.read().map_err(why)?,
            columns: row.read().map_err(why)?,
            lots: lots_of.remove(&id).unwrap_or_default(),
            keys: keys_of.remove(&id).unwrap_or_default(),
        })
    });
    keep(accounts, unreadable)
}

/// The first id that may come after one: ids are 128 bits, in both databases in the order of their bytes.
pub(in crate::store) fn follows(after: Option<AccountId>) -> Option<Uuid> {
    match after {
        Some(AccountId(id)) => id.as_u128().checked_add(1).map(Uuid::from_u128),
        None => Some(Uuid::nil()),
    }
}
