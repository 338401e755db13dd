//! Live keys: listing, renaming, revoking.

use accounting::{AccountState, Key};
use schemas::api::{Done, KeyInfo, Refusal};
use schemas::event::{KeyLimits, KeyRevokedV1, KeyUpdatedV1, KeyUpdatedV2};
use schemas::money::MAX_USD;
use schemas::{AccountId, EventData, EventId, KeyId, Usd};

use super::{invalid, nothing_to_do, reason};
use crate::service::commands::MAX_NAME_CHARACTERS;
use crate::service::contact::label;
use crate::service::{Ledger, LedgerError};

impl Ledger {
    /// An account's live keys, in the order of their ids: oldest first.
    pub async fn keys(&self, account: AccountId) -> Result<Vec<KeyInfo>, LedgerError> {
        let state = self.stored(account).await?.state;
        let info = |(key_id, key): (KeyId, Key)| KeyInfo { key_id, name: key.name, hint: key.hint, limits: key.limits };
        Ok(state.keys.into_iter().map(info).collect())
    }

    pub(super) async fn update_key(
        &self,
        account: AccountId,
        key_id: KeyId,
        name: Option<&str>,
        limits: Option<KeyLimits>,
    ) -> Result<Done, LedgerError> {
        let name = name.map(|name| label("name", name, MAX_NAME_CHARACTERS)).transpose()?;
        let limits = limits.map(|limits| self.possible(limits)).transpose()?;
        let _turn = self.turn(account).await;
        let state = self.stored(account).await?.state;
        let key = live(&state, key_id)?;
        let name = name.unwrap_or_else(|| key.name.clone());
        let limits = limits.filter(|limits| *limits != key.limits);
        if key.name == name && limits.is_none() {
            return nothing_to_do(&state);
        }
        let data = match limits {
            Some(limits) => EventData::KeyUpdatedV2(Box::new(KeyUpdatedV2 { key_id, name, limits })),
            None => EventData::KeyUpdated(KeyUpdatedV1 { key_id, name }),
        };
        self.done(EventId(self.fresh()), account, data, "key").await
    }

    /// Limits that a key can have: of models that there are, and of money that there may be.
    pub(in crate::service) fn possible(&self, limits: KeyLimits) -> Result<KeyLimits, Refusal> {
        let known = &self.parts.catalogue.models;
        if let Some(model) = limits.models.iter().flatten().find(|model| !known.contains_key(*model)) {
            let known = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(invalid("limits.models", format!("no model `{model}` in the catalogue; it has {known}")));
        }
        for (field, usd) in [("limits.usd_per_day", limits.usd_per_day), ("limits.usd_per_month", limits.usd_per_month)]
        {
            if let Some(usd) = usd.filter(|usd| *usd < Usd::ZERO || !usd.in_range()) {
                return Err(invalid(field, format!("{usd} USD; it is 0 to {MAX_USD} USD")));
            }
        }
        Ok(limits)
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
