//! `key.*` events.

use schemas::event::{KeyIssuedV1, KeyRevokedV1, KeyUpdatedV1};

use super::account::open;
use crate::{AccountState, Key, Reason};

pub(super) fn issued(state: &mut AccountState, data: &KeyIssuedV1) -> Result<(), Reason> {
    open(state)?;
    if state.keys.contains_key(&data.key_id) {
        return Err(Reason::KeyExists(data.key_id));
    }
    let key = Key { hash: data.hash, name: data.name.clone(), hint: data.hint.clone() };
    state.keys.insert(data.key_id, key);
    Ok(())
}

pub(super) fn updated(state: &mut AccountState, data: &KeyUpdatedV1) -> Result<(), Reason> {
    let key = state.keys.get_mut(&data.key_id).ok_or(Reason::UnknownKey(data.key_id))?;
    key.name.clone_from(&data.name);
    Ok(())
}

pub(super) fn revoked(state: &mut AccountState, data: &KeyRevokedV1) -> Result<(), Reason> {
    state.keys.remove(&data.key_id).map(drop).ok_or(Reason::UnknownKey(data.key_id))
}
