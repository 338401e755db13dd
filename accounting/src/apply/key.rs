//! `key.*` events, and what keys with a limit of money have used.

use schemas::event::{KeyIssuedV1, KeyIssuedV2, KeyLimits, KeyRevokedV1, Usage};
use schemas::{KeyId, Timestamp};

use super::account::open;
use crate::{AccountState, Key, Reason, key_usage};

pub(super) fn new(data: &KeyIssuedV1) -> Key {
    let limits = KeyLimits::default();
    Key { hash: data.hash, name: data.name.clone(), hint: data.hint.clone(), limits, used: None }
}

pub(super) fn limited(data: &KeyIssuedV2) -> Key {
    let limits = data.limits.clone();
    Key { hash: data.hash, name: data.name.clone(), hint: data.hint.clone(), limits, used: None }
}

pub(super) fn issued(state: &mut AccountState, key_id: KeyId, key: Key) -> Result<(), Reason> {
    open(state)?;
    if state.keys.contains_key(&key_id) {
        return Err(Reason::KeyExists(key_id));
    }
    state.keys.insert(key_id, key);
    Ok(())
}

pub(super) fn updated(
    state: &mut AccountState,
    key_id: KeyId,
    name: &str,
    limits: Option<&KeyLimits>,
) -> Result<(), Reason> {
    let key = state.keys.get_mut(&key_id).ok_or(Reason::UnknownKey(key_id))?;
    name.clone_into(&mut key.name);
    if let Some(limits) = limits {
        key.limits.clone_from(limits);
        if !limits.of_money() {
            key.used = None;
        }
    }
    Ok(())
}

pub(super) fn revoked(state: &mut AccountState, data: &KeyRevokedV1) -> Result<(), Reason> {
    state.keys.remove(&data.key_id).map(drop).ok_or(Reason::UnknownKey(data.key_id))
}

/// Counts what a key has used, where it has a limit of money. A key that is not live any more has none.
pub(super) fn used(state: &mut AccountState, usage: &Usage<'_>, time: Timestamp) {
    if let Some(key) = state.keys.get_mut(&usage.key_id)
        && key.limits.of_money()
    {
        key.used = Some(key_usage::add(key.used, time, usage.cost_usd));
    }
}
