//! What this gateway knows of accounts and keys. Views come from the ledger, are at most [`FRESH_FOR`] old, and are ordered by
//! their log position: an older one never replaces a newer one. What an account has to spend does not come from its view,
//! but from this gateway's lease on it.

mod account;
mod admission;
mod keeper;
mod questions;
mod requests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::api::KeyView;
use schemas::event::KeyHash;
use schemas::{AccountId, GatewayId, KeyId, RunId};
use tokio::time::Instant;

pub(crate) use self::account::{Account, Hold, Running};
pub(crate) use self::admission::{Decided, MESSAGE_ENDS, NoFunds};
pub use self::keeper::Keeper;
use self::questions::Questions;
pub(crate) use self::requests::Unadmitted;
use crate::context::Context;
use crate::key_limits::{LimitedKey, LimitedKeys};
use crate::lease::Sender;
use crate::ports::{Ledger, LedgerError};
use crate::tally::Tally;

/// How old a key or a view may be: what is revoked stops working within this time.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// Keys remembered at most; beyond it those that are no longer fresh are forgotten.
const MAX_KEYS: usize = 100_000;

/// Who this gateway is to the ledger.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The same through all restarts on its spool.
    pub gateway_id: GatewayId,
    /// Fresh at each start.
    pub run_id: RunId,
}

/// A key that was presented and found.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The key.
    pub(crate) key_id: KeyId,
    /// Its account.
    pub(crate) account: Arc<Account>,
    /// What it may do, where it may not do everything.
    pub(crate) limits: Option<Arc<LimitedKey>>,
}

/// All accounts that this gateway has seen of late.
pub(crate) struct Accounts {
    lessee: Arc<Lessee>,
    known: Mutex<Known>,
    questions: Questions<Result<Option<Caller>, LedgerError>>,
}

/// What every account needs to lease funds.
pub(crate) struct Lessee {
    ledger: Arc<dyn Ledger>,
    sender: Sender,
    context: Context,
    /// Requests that an account which has ever paid may make in a minute, where its plan allows fewer.
    paid_requests_per_minute: u32,
    /// Messages about leases, by how they ended.
    messages: Tally<{ MESSAGE_ENDS.len() }>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<KeyHash, CachedKey>,
    limited: LimitedKeys,
    accounts: HashMap<AccountId, Arc<Account>>,
}

struct CachedKey {
    caller: Caller,
    fetched_at: Instant,
}

impl Accounts {
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        identity: Identity,
        context: Context,
        paid_requests_per_minute: u32,
    ) -> Self {
        let sender = Sender { gateway_id: identity.gateway_id, run_id: identity.run_id };
        let lessee = Arc::new(Lessee { ledger, sender, context, paid_requests_per_minute, messages: Tally::default() });
        Self { lessee, known: Mutex::default(), questions: Questions::default() }
    }

    /// Finds the account of a key: from memory while that is fresh, else from the ledger.
    pub(crate) async fn find(&self, hash: KeyHash) -> Result<Option<Caller>, LedgerError> {
        let now = Instant::now();
        if let Some(key) = lock(&self.known).keys.get(&hash)
            && now.duration_since(key.fetched_at) < FRESH_FOR
        {
            return Ok(Some(key.caller.clone()));
        }
        // Boxed: few requests get here, and none is to carry its size.
        Box::pin(self.questions.answer(hash, now, || self.ask(hash, now))).await
    }

    /// Asks the ledger, and remembers what it says.
    async fn ask(&self, hash: KeyHash, now: Instant) -> Result<Option<Caller>, LedgerError> {
        let found = self.lessee.ledger.find_key(hash).await?;
        let mut known = lock(&self.known);
        match found {
            Some(view) => Ok(Some(known.remember(view, &self.lessee, now))),
            None => {
                known.keys.remove(&hash);
                Ok(None)
            }
        }
    }

    /// Messages about leases, by how they ended.
    pub(crate) fn lease_messages(&self) -> &Tally<{ MESSAGE_ENDS.len() }> {
        &self.lessee.messages
    }

    /// How many accounts this gateway has a lease on.
    pub(crate) fn leases(&self) -> usize {
        self.all().iter().filter(|account| !lock(&account.book).is_empty()).count()
    }

    /// Every account, in no order that matters.
    fn all(&self) -> Vec<Arc<Account>> {
        lock(&self.known).accounts.values().cloned().collect()
    }
}

impl Known {
    fn remember(&mut self, view: KeyView, lessee: &Arc<Lessee>, now: Instant) -> Caller {
        if self.keys.len() >= MAX_KEYS {
            self.keys.retain(|_, key| now.duration_since(key.fetched_at) < FRESH_FOR);
            // An account that a running request holds funds of must be found again by the next request.
            self.accounts.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_idle(now));
            self.limited.forget_idle(lessee.context.now());
        }
        let new = || Arc::new(Account::new(view.account.clone(), Arc::clone(lessee)));
        let account = self.accounts.entry(view.account.account_id).or_insert_with(new).clone();
        let limits = self.limited.renew(&view);
        account.renew_view(view.account);
        let caller = Caller { key_id: view.key_id, account, limits };
        self.keys.insert(view.hash, CachedKey { caller: caller.clone(), fetched_at: now });
        caller
    }
}

/// A panic while the lock was held left a value that was whole: every change under it is a single assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
