//! Keys and credit.

use accounting::api_key;
use schemas::api::{GrantCredit, Granted, IssueKey, IssuedKey, Refusal};
use schemas::event::{CreditGrantedV1, CreditSource, KeyHash, KeyIssuedV1, KeyIssuedV2, KeyLimits};
use schemas::money::MAX_USD;
use schemas::{AccountId, EventData, EventId, KeyId, LotId, Offset, Position};

use super::command::not_closed;
use super::contact::label;
use super::{Ledger, LedgerError};
use crate::outside::fresh_id;
use crate::store::StoredAccount;

/// Credit given is drawn in the order in which it was given.
pub(super) const GRANT_PRIORITY: u8 = 100;

pub(super) const MAX_NAME_CHARACTERS: usize = 100;
pub(super) const MAX_REASON_CHARACTERS: usize = 500;
pub(super) const MAX_IDEMPOTENCY_KEY_CHARACTERS: usize = 255;

/// A key that is made, but not issued yet.
pub(super) struct NewKey {
    pub(super) event: KeyIssuedV1,
    pub(super) issued: IssuedKey,
}

impl NewKey {
    pub(super) fn hash(&self) -> KeyHash {
        self.event.hash
    }

    /// What says that it was issued with these limits.
    fn event_with(&self, limits: KeyLimits) -> EventData {
        let KeyIssuedV1 { key_id, name, hash, hint } = self.event.clone();
        if limits.is_none() {
            return EventData::KeyIssued(KeyIssuedV1 { key_id, name, hash, hint });
        }
        EventData::KeyIssuedV2(Box::new(KeyIssuedV2 { key_id, name, hash, hint, limits }))
    }
}

impl Ledger {
    /// Issues a key; returns when the ledger has applied it.
    pub async fn issue_key(&self, command: IssueKey) -> Result<IssuedKey, LedgerError> {
        let name = label("name", &command.name, MAX_NAME_CHARACTERS)?;
        let limits = self.possible(command.limits)?;
        let _turn = self.turn(command.account_id).await;
        let stored = self.stored_with_all(command.account_id).await?;
        not_closed(&stored.state)?;
        if let Some(limit) = stored.state.plan.max_keys
            && stored.state.keys.len() >= limit as usize
        {
            return Err(Refusal::KeyLimit { limit }.into());
        }
        let key = self.new_key(name);
        let id = EventId(fresh_id(&*self.parts.outside));
        self.post(id, command.account_id, key.event_with(limits), "name").await?;
        Ok(key.issued)
    }

    /// An account with all that is in the log of its partition now. A limit that is looked at on an older state could be
    /// overrun: by keys that are issued already, and not applied.
    async fn stored_with_all(&self, account: AccountId) -> Result<StoredAccount, LedgerError> {
        let partition = self.stored(account).await?.partition;
        let end = self.parts.log.end(partition).await;
        let end = end.map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        if let Some(last) = end.0.checked_sub(1) {
            let position = Position { partition, offset: Offset(last) };
            let applied = self.wait_until_applied(position, self.parts.apply_timeout).await;
            applied.map_err(|_| {
                LedgerError::Unavailable(format!(
                    "what the log holds up to {position} is not applied yet, so how many keys the account has is not known, \
                     and no key was issued: look whether a ledger runs over that partition, and try again"
                ))
            })?;
        }
        self.stored(account).await
    }

    /// Gives credit; returns when the ledger has applied it.
    pub async fn grant_credit(&self, command: GrantCredit) -> Result<Granted, LedgerError> {
        let GrantCredit { account_id, amount_usd, reason, idempotency_key } = command;
        if !amount_usd.is_positive() || !amount_usd.in_range() {
            let detail = format!("{amount_usd} USD; a grant is above zero and at most {MAX_USD} USD");
            return Err(Refusal::Invalid { field: "amount_usd".into(), detail }.into());
        }
        let reason = label("reason", &reason, MAX_REASON_CHARACTERS)?;
        self.stored(account_id).await?;
        let (event, lot) = match &idempotency_key {
            Some(key) => {
                let key = label("idempotency_key", key, MAX_IDEMPOTENCY_KEY_CHARACTERS)?;
                (account_id.derive(&format!("grant:{key}")), account_id.derive(&format!("lot:grant:{key}")))
            }
            None => (fresh_id(&*self.parts.outside), fresh_id(&*self.parts.outside)),
        };
        let lot_id = LotId(lot);
        let source = CreditSource::Promotion;
        let grant = CreditGrantedV1 { lot_id, source, amount_usd, priority: GRANT_PRIORITY, reason };
        let posted = self.post(EventId(event), account_id, EventData::CreditGranted(grant), "amount_usd").await?;
        if posted.amount != amount_usd {
            let detail = format!("it was used for a grant of {} USD before; use another one", posted.amount);
            return Err(Refusal::Invalid { field: "idempotency_key".into(), detail }.into());
        }
        Ok(Granted { lot_id, balance_usd: posted.balance })
    }

    pub(super) fn new_key(&self, name: String) -> NewKey {
        let mut random = [0; api_key::RANDOM_BYTES];
        self.parts.outside.fill(&mut random);
        let key = api_key::generate(&random);
        let key_id = KeyId(fresh_id(&*self.parts.outside));
        let hash = key.hash(self.parts.pepper.expose().as_bytes());
        let event = KeyIssuedV1 { key_id, name, hash, hint: key.hint() };
        NewKey { event, issued: IssuedKey { key_id, secret: key.into_secret() } }
    }
}
