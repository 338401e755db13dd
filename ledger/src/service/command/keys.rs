//! Live keys: listing, renaming, revoking.

use accounting::{AccountState, Key};
use schemas::api::{Done, KeyInfo, Refusal};
use schemas::event::{KeyRevokedV1, KeyUpdatedV1};
use schemas::{AccountId, EventData, EventId, KeyId};

use super::{invalid, nothing_to_do, reason};
use crate::service::commands::MAX_NAME_CHARACTERS;
use crate::service::contact::label;
use crate::service::{Ledger, LedgerError};

impl Ledger {
    /// An account's live keys, in the order of their ids: oldest first.
    pub async fn keys(&self, account: AccountId) -> Result<Vec<KeyInfo>, LedgerError> {
        let state = self.stored(account).await?.state;
        let info = |(key_id, key): (KeyId, Key)| KeyInfo { key_id, name: key.name, hint: key.hint };
        Ok(state.keys.into_iter().map(info).collect())
    }

    pub(super) async fn update_key(&self, account: AccountId, key_id: KeyId, name: &str) -> Result<Done, LedgerError> {
        let name = label("name", name, MAX_NAME_CHARACTERS)?;
        let _turn = self.turn(account).await;
        let state = self.stored(account).await?.state;
        if live(&state, key_id)?.name == name {
            return nothing_to_do(&state);
        }
        let data = EventData::KeyUpdated(KeyUpdatedV1 { key_id, name });
        self.done(EventId(self.fresh()), account, data, "key").await
    }

    pub(super) async fn revoke_key(&self, account: AccountId, key_id: KeyId, why: &str) -> Result<Done, LedgerError> {
        let reason = reason(why)?;
        let _turn = self.turn(account).await;
        let id = EventId(account.derive(&format!("key.revoked:{key_id}")));
        // Revoked is revoked, whatever the reason was.
        if let Some(done) = self.repeat(id, account, "key", |_| true).await? {
            return Ok(done);
        }
        live(&self.stored(account).await?.state, key_id)?;
        let data = EventData::KeyRevoked(KeyRevokedV1 { key_id, reason });
        self.done(id, account, data, "key").await
    }
}

fn live(state: &AccountState, key: KeyId) -> Result<&Key, Refusal> {
    let unknown =
        || invalid("key", format!("the account has no live key {key}; `modelhub admin list-keys` tells its keys"));
    state.keys.get(&key).ok_or_else(unknown)
}
