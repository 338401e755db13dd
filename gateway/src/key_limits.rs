//! What a key may do: which models, until when, and how much money in a day and a month.
//!
//! Only keys that have limits cost anything here. Money is the ledger's count of what the key has used, and what this gateway
//! holds for it and has charged and that count does not include yet: whatever the count grows by is taken for its own charges.
//! So several gateways together can exceed a key's limit by what they run at the same time, and one that was restarted by
//! what its spool held; never the account's balance.

mod pending;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accounting::key_usage;
use schemas::api::{KeyUsed, KeyView};
use schemas::event::KeyLimits;
use schemas::{KeyId, Offset, Timestamp, Usd};

use self::pending::{Pending, less};
use crate::error::ApiError;

/// Keys that have limits, by id.
#[derive(Default)]
pub(crate) struct LimitedKeys(HashMap<KeyId, Arc<LimitedKey>>);

impl LimitedKeys {
    /// The key as it is now; none where it may do everything.
    pub(crate) fn renew(&mut self, view: &KeyView) -> Option<Arc<LimitedKey>> {
        if view.limits.is_none() {
            // An older view takes no limits away that a newer one has set.
            let newer = self.0.get(&view.key_id).filter(|key| lock(&key.0).seen > Some(view.account.version.offset));
            if let Some(newer) = newer {
                return Some(Arc::clone(newer));
            }
            self.0.remove(&view.key_id);
            return None;
        }
        let key = self.0.entry(view.key_id).or_default();
        key.renew(view);
        Some(Arc::clone(key))
    }

    /// Forgets keys of which nothing would be lost.
    pub(crate) fn forget_idle(&mut self, now: Timestamp) {
        self.0.retain(|_, key| Arc::strong_count(key) > 1 || !lock(&key.0).pending.is_none(now));
    }
}

/// A key that has limits.
#[derive(Debug, Default)]
pub(crate) struct LimitedKey(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    limits: KeyLimits,
    used: Option<KeyUsed>,
    /// Up to where in the log `used` counts.
    seen: Option<Offset>,
    /// Held by requests that run.
    held: Usd,
    /// Charged by this gateway, and not in `used` yet: as much of it is as `used` has grown since.
    pending: Pending,
}

impl LimitedKey {
    fn renew(&self, view: &KeyView) {
        let (mut state, at) = (lock(&self.0), view.account.version.offset);
        if Some(at) >= state.seen {
            let total = |used: Option<KeyUsed>| used.map_or(Usd::ZERO, |used| used.usd_in_total);
            if state.seen.is_some() {
                let grown = total(view.used).checked_sub(total(state.used)).unwrap_or_default().max(Usd::ZERO);
                state.pending.counted(grown);
            }
            state.limits.clone_from(&view.limits);
            (state.used, state.seen) = (view.used, Some(at));
        }
    }

    /// Refuses everything once its time is over.
    pub(crate) fn is_live(&self, now: Timestamp) -> Result<(), ApiError> {
        match lock(&self.0).limits.expires_at.filter(|end| *end <= now) {
            Some(end) => Err(ApiError::key_limit(format!("This API key ended at {end}. Use another one."))),
            None => Ok(()),
        }
    }

    /// Refuses a model that it may not use.
    pub(crate) fn may_use(&self, model: &str) -> Result<(), ApiError> {
        match &lock(&self.0).limits.models {
            Some(models) if !models.contains(model) => {
                let may = models.iter().map(|model| format!("`{model}`")).collect::<Vec<_>>().join(", ");
                Err(ApiError::key_limit(format!("This API key may not use the model `{model}`. It may use: {may}.")))
            }
            _ => Ok(()),
        }
    }

    /// Lets `take` decide what to hold, given what is left of its money, and holds it; where money has no limit, `take` is not
    /// asked. Look and hold are one step: two requests never hold the same cent. Otherwise says what is left.
    pub(crate) fn hold<T>(
        self: &Arc<Self>,
        now: Timestamp,
        take: impl FnOnce(Usd) -> Option<(Usd, T)>,
    ) -> Result<(KeyHold, Option<T>), Usd> {
        let mut state = lock(&self.0);
        let pending = state.pending.sum(now);
        let under_way = pending.checked_add(state.held).unwrap_or(pending);
        let (amount, taken) = match key_usage::left(&state.limits, state.used.as_ref(), under_way, now) {
            None => (Usd::ZERO, None),
            Some(left) => take(left).map(|(amount, taken)| (amount, Some(taken))).ok_or(left)?,
        };
        state.held = state.held.checked_add(amount).unwrap_or(state.held);
        drop(state);
        Ok((KeyHold { key: Arc::clone(self), amount, at: now }, taken))
    }
}

/// Money of a key's limits that is held for one request. Dropped without [`KeyHold::charge`], it is released whole.
#[derive(Debug)]
pub(crate) struct KeyHold {
    key: Arc<LimitedKey>,
    amount: Usd,
    at: Timestamp,
}

impl KeyHold {
    /// Releases the hold and counts `cost` instead, until a view includes it.
    pub(crate) fn charge(self, cost: Usd) -> KeyCharge {
        let mut state = lock(&self.key.0);
        if state.limits.of_money() {
            state.pending.add(self.at, cost);
        }
        drop(state);
        KeyCharge { key: Arc::clone(&self.key), cost, at: self.at }
    }
}

impl Drop for KeyHold {
    fn drop(&mut self) {
        let mut state = lock(&self.key.0);
        state.held = less(state.held, self.amount);
    }
}

/// A charge whose event is being recorded.
#[derive(Debug)]
pub(crate) struct KeyCharge {
    key: Arc<LimitedKey>,
    cost: Usd,
    at: Timestamp,
}

impl KeyCharge {
    /// The event was not recorded, and never will be.
    pub(crate) fn take_back(self) {
        let mut state = lock(&self.key.0);
        state.pending.take_back(self.at, self.cost);
    }
}

/// A panic while the lock was held left a value that was whole: every change under it is a single assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use schemas::event::KeyHash;
    use uuid::Uuid;

    use super::*;
    use crate::fixtures::view;

    /// Whether a key may still spend, once views came in this order: each of an offset, and of a limit of money.
    fn check(views: &[(u64, Option<&str>)], expected: Option<&str>) {
        let mut keys = LimitedKeys::default();
        let mut limited = None;
        for (version, limit) in views {
            limited = keys.renew(&KeyView {
                key_id: KeyId(Uuid::from_u128(1)),
                hash: KeyHash([1; 32]),
                limits: KeyLimits { usd_per_day: limit.map(|limit| limit.parse().unwrap()), ..KeyLimits::default() },
                used: None,
                account: view(*version),
            });
        }
        let left = limited.map(|key| lock(&key.0).limits.usd_per_day.map(|limit| limit.to_string()));
        assert_eq!(left, expected.map(|limit| Some(limit.to_owned())), "{views:?}");
    }

    #[test]
    fn an_older_view_of_a_key_replaces_no_newer_one() {
        check(&[(1, Some("1")), (2, Some("2"))], Some("2"));
        check(&[(2, Some("2")), (1, Some("1"))], Some("2"));
        check(&[(2, Some("2")), (1, None)], Some("2"));
        check(&[(1, Some("1")), (2, None)], None);
        check(&[(2, Some("2")), (2, None)], None);
        check(&[(1, None), (2, Some("2"))], Some("2"));
    }
}
