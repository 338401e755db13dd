//! What this gateway knows of accounts, and the money that its running requests hold.
//!
//! Views come from the ledger, are at most [`FRESH_FOR`] old, and are ordered by their log position: an older one never
//! replaces a newer one. What this gateway has charged but a view does not include yet is subtracted: while its event waits
//! for its place in the log, and then by that place. So no amount is counted twice or missed, however late the log or the
//! ledger is.
//!
//! The guarantee is one gateway's: several gateways on one account each see the others' charges only as fast as views
//! are renewed (see `docs/ARCHITECTURE.md`, "Admission").

mod charges;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventlog::Record;
use eventlog::spool::Drained;
use schemas::api::{AccountStatus, AccountView, KeyView};
use schemas::event::KeyHash;
use schemas::{AccountId, Event, KeyId, Position, Usd};
use tokio::time::Instant;

pub(crate) use self::charges::Charges;
use crate::key_limits::{LimitedKey, LimitedKeys};
use crate::limits::{Limiter, Limits, Standing, TooMany};
use crate::ports::{Ledger, LedgerError};

/// How old a key or a view may be: what is revoked stops working within this time.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// Keys remembered at most; beyond it those that are no longer fresh are forgotten.
const MAX_KEYS: usize = 100_000;

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
    ledger: Arc<dyn Ledger>,
    /// Requests that an account which has ever paid may make in a minute, where its plan allows fewer.
    paid_requests_per_minute: u32,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<KeyHash, CachedKey>,
    limited: LimitedKeys,
    accounts: HashMap<AccountId, Arc<Account>>,
    /// Charges to accounts that nobody has asked for since this process started.
    early: BTreeMap<AccountId, Charges>,
}

/// Charges that a process before this one recorded and the log may not have yet, by account.
#[derive(Debug, Default)]
pub struct Waiting(BTreeMap<AccountId, Charges>);

impl Waiting {
    /// Adds the charge of a usage event that waits.
    pub fn add(&mut self, record: &Record) {
        if let Some(cost) = cost(record) {
            self.0.entry(record.key).or_default().add(cost);
        }
    }
}

/// What a usage event charges.
fn cost(record: &Record) -> Option<Usd> {
    cost_by_key(record).map(|(_, cost)| cost)
}

fn cost_by_key(record: &Record) -> Option<(KeyId, Usd)> {
    let event = Event::decode(&record.payload).ok()?;
    let usage = event.data.usage()?;
    Some((usage.key_id, usage.cost_usd))
}

struct CachedKey {
    caller: Caller,
    fetched_at: Instant,
}

impl Accounts {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, paid_requests_per_minute: u32, waiting: Waiting) -> Self {
        Self { ledger, paid_requests_per_minute, known: Mutex::new(Known::new(waiting)) }
    }

    /// Finds the account of a key: from memory while that is fresh, else from the ledger.
    pub(crate) async fn find(&self, hash: KeyHash) -> Result<Option<Caller>, LedgerError> {
        let now = Instant::now();
        if let Some(key) = lock(&self.known).keys.get(&hash)
            && now.duration_since(key.fetched_at) < FRESH_FOR
        {
            return Ok(Some(key.caller.clone()));
        }
        let found = self.ledger.find_key(hash).await?;
        let mut known = lock(&self.known);
        match found {
            Some(view) => Ok(Some(known.remember(view, self.paid_requests_per_minute, now))),
            None => {
                known.keys.remove(&hash);
                Ok(None)
            }
        }
    }
}

impl Drained for Accounts {
    /// The charge of a usage event has its place in the log.
    fn drained(&self, record: &Record, position: Position) {
        lock(&self.known).drained(record, position);
    }
}

impl Known {
    fn new(waiting: Waiting) -> Self {
        Self { early: waiting.0, ..Self::default() }
    }

    fn drained(&mut self, record: &Record, position: Position) {
        let Some((key_id, cost)) = cost_by_key(record) else { return };
        self.limited.drained(key_id, cost, position.offset);
        match self.accounts.get(&record.key) {
            Some(account) => {
                let mut funds = lock(&account.funds);
                let seen = funds.view.version.offset;
                funds.charges.place(cost, position.offset, Some(seen));
            }
            None => self.early.entry(record.key).or_default().place(cost, position.offset, None),
        }
    }

    fn remember(&mut self, view: KeyView, paid_requests_per_minute: u32, now: Instant) -> Caller {
        if self.keys.len() >= MAX_KEYS {
            self.keys.retain(|_, key| now.duration_since(key.fetched_at) < FRESH_FOR);
            // An account that a running request holds money of must be found again by the next request.
            self.accounts.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_idle(now));
            self.limited.forget_idle();
        }
        let early = &mut self.early;
        let new = || {
            let charges = early.remove(&view.account.account_id).unwrap_or_default();
            Arc::new(Account::new(view.account.clone(), paid_requests_per_minute, charges))
        };
        let account = self.accounts.entry(view.account.account_id).or_insert_with(new).clone();
        let limits = self.limited.renew(&view);
        account.renew(view.account);
        let caller = Caller { key_id: view.key_id, account, limits };
        self.keys.insert(view.hash, CachedKey { caller: caller.clone(), fetched_at: now });
        caller
    }
}

/// One account's money, as this gateway sees it.
#[derive(Debug)]
pub(crate) struct Account {
    id: AccountId,
    paid_requests_per_minute: u32,
    funds: Mutex<Funds>,
    limiter: Mutex<Limiter>,
}

#[derive(Debug)]
struct Funds {
    view: AccountView,
    /// Held by requests that run.
    held: Usd,
    /// Charged by this gateway, and not in `view` yet.
    charges: Charges,
}

impl Account {
    fn new(view: AccountView, paid_requests_per_minute: u32, charges: Charges) -> Self {
        let id = view.account_id;
        let funds = Mutex::new(Funds { view, held: Usd::ZERO, charges });
        Self { id, paid_requests_per_minute, funds, limiter: Mutex::default() }
    }

    pub(crate) fn id(&self) -> AccountId {
        self.id
    }

    /// Whether it may use the API, as of its newest view.
    pub(crate) fn status(&self) -> AccountStatus {
        lock(&self.funds).view.status
    }

    fn renew(&self, view: AccountView) {
        let mut funds = lock(&self.funds);
        if view.version.offset >= funds.view.version.offset {
            funds.charges.applied(view.version.offset);
            funds.view = view;
        }
    }

    /// Whether nothing would be lost by forgetting it: no charge that its view does not include, no request of late.
    fn is_idle(&self, now: Instant) -> bool {
        lock(&self.funds).charges.is_empty() && lock(&self.limiter).is_idle(now)
    }

    fn limits(&self) -> Limits {
        Limits::of(&lock(&self.funds).view, self.paid_requests_per_minute)
    }

    /// Admits a request by the plan's limits, for as long as the answer is kept.
    pub(crate) fn admit(self: &Arc<Self>, now: Instant) -> Result<Running, TooMany> {
        let limits = self.limits();
        lock(&self.limiter).admit(now, limits)?;
        Ok(Running { account: Arc::clone(self) })
    }

    /// How much of the minute's limit is left.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let limits = self.limits();
        lock(&self.limiter).standing(now, limits)
    }

    /// Lets `price` decide what to hold, given what is available, and holds it. Check and hold are one step: two requests
    /// never hold the same cent.
    pub(crate) fn hold<T>(self: &Arc<Self>, price: impl FnOnce(Usd) -> Option<(Usd, T)>) -> Result<(Hold, T), Usd> {
        let mut funds = lock(&self.funds);
        let available = funds.available().unwrap_or_default();
        let Some((amount, decided)) = price(available) else { return Err(available) };
        if amount > available {
            return Err(available);
        }
        funds.held = funds.held.checked_add(amount).ok_or(available)?;
        drop(funds);
        Ok((Hold { account: Arc::clone(self), amount }, decided))
    }
}

impl Funds {
    fn available(&self) -> Option<Usd> {
        self.view.balance_usd.checked_sub(self.held)?.checked_sub(self.charges.total()?)
    }
}

/// A request that counts as running until this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    account: Arc<Account>,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.account.limiter).ended();
    }
}

/// Money held for one request. Dropped without [`Hold::charge`], it is released whole.
#[derive(Debug)]
pub(crate) struct Hold {
    account: Arc<Account>,
    amount: Usd,
}

/// A charge whose event is being recorded. It counts until a view includes it, unless it is taken back.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    cost: Usd,
}

impl Hold {
    pub(crate) fn account_id(&self) -> AccountId {
        self.account.id
    }

    /// Releases the hold and counts `cost` instead. Before its event is recorded: its place in the log may be known sooner
    /// than whoever recorded it hears of it.
    pub(crate) fn charge(self, cost: Usd) -> Charge {
        lock(&self.account.funds).charges.add(cost);
        Charge { account: Arc::clone(&self.account), cost }
    }
}

impl Charge {
    /// The event was not recorded, and never will be.
    pub(crate) fn take_back(self) {
        lock(&self.account.funds).charges.take_back(self.cost);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut funds = lock(&self.account.funds);
        funds.held = funds.held.checked_sub(self.amount).unwrap_or_default();
    }
}

/// A panic while the lock was held left a value that was whole: every change under it is a single assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
