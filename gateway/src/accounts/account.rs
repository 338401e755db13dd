//! One account, as this gateway sees it, and what a request holds of it.

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use schemas::api::{AccountStatus, AccountView, Funds};
use schemas::event::Funding;
use schemas::{AccountId, LeaseId, Offset};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Lessee, lock};
use crate::lease::{Book, Taken};
use crate::limits::{Limiter, Limits, SharedLimiter, Standing, TooMany};

/// One account.
pub(crate) struct Account {
    id: AccountId,
    pub(super) lessee: Arc<Lessee>,
    view: Mutex<AccountView>,
    pub(super) limiter: Mutex<SharedLimiter>,
    /// Of questions what a request would cost. They are limited as requests are, each for themselves.
    quotes: Mutex<Limiter>,
    pub(super) book: Mutex<Book>,
    /// Told whenever funds may have come free.
    pub(super) changed: Notify,
    /// Requests that wait for funds take turns, first come first served.
    pub(super) turns: tokio::sync::Mutex<()>,
    pub(super) waiting: AtomicUsize,
}

impl Account {
    pub(super) fn new(view: AccountView, lessee: Arc<Lessee>) -> Self {
        Self {
            id: view.account_id,
            lessee,
            view: Mutex::new(view),
            limiter: Mutex::default(),
            quotes: Mutex::default(),
            book: Mutex::default(),
            changed: Notify::new(),
            turns: tokio::sync::Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn id(&self) -> AccountId {
        self.id
    }

    /// Its newest view.
    pub(crate) fn view(&self) -> AccountView {
        lock(&self.view).clone()
    }

    /// What it had, as of its newest view.
    pub(crate) fn there_is(&self) -> Funds {
        let view = lock(&self.view);
        Funds { usd: view.balance_usd, plan_tokens: view.plan_tokens }
    }

    /// Up to where in the log it was folded, where it had plan tokens left then.
    pub(super) fn has_plan_tokens(&self) -> Option<Offset> {
        let view = lock(&self.view);
        (view.plan_tokens > 0).then_some(view.version.offset)
    }

    /// Whether it may use the API, as of its newest view.
    pub(crate) fn status(&self) -> AccountStatus {
        lock(&self.view).status
    }

    pub(super) fn renew_view(&self, view: AccountView) {
        let mut known = lock(&self.view);
        if view.version.offset >= known.version.offset {
            *known = view;
        }
    }

    /// Whether nothing would be lost by forgetting it: no lease, no request of late.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        lock(&self.book).is_empty() && lock(&self.limiter).is_idle(now) && lock(&self.quotes).is_idle(now)
    }

    pub(super) fn limits(&self) -> Limits {
        Limits::of(&lock(&self.view), self.lessee.paid_requests_per_minute)
    }

    /// Admits a question what a request would cost, for as long as the answer is kept.
    pub(crate) fn admit_quote(self: &Arc<Self>, now: Instant) -> Result<Quoting, TooMany> {
        let limits = self.limits();
        lock(&self.quotes).admit(now, limits)?;
        Ok(Quoting { account: Arc::clone(self) })
    }

    /// How much of the minute's limit is left.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let limits = self.limits();
        lock(&self.limiter).standing(now, limits)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.id)
    }
}

/// A request that counts as running until this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    account: Arc<Account>,
}

impl Running {
    /// Of a request that was admitted.
    pub(super) fn new(account: &Arc<Account>) -> Self {
        Self { account: Arc::clone(account) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let limits = self.account.limits();
        let mut limiter = lock(&self.account.limiter);
        limiter.ended();
        let hoards = limiter.hoards(limits);
        drop(limiter);
        if hoards {
            self.account.ask_in_background(Funds::ZERO);
        }
    }
}

/// A question what a request would cost, being answered until this is dropped.
#[derive(Debug)]
pub(crate) struct Quoting {
    account: Arc<Account>,
}

impl Drop for Quoting {
    fn drop(&mut self) {
        lock(&self.account.quotes).ended();
    }
}

/// Funds held for one request. Dropped without [`Hold::charge`], they are released whole.
#[derive(Debug)]
pub(crate) struct Hold {
    account: Arc<Account>,
    taken: Option<Taken>,
    funds: Funds,
    lease_id: LeaseId,
}

impl Hold {
    pub(super) fn new(account: Arc<Account>, taken: Taken) -> Self {
        Self { account, taken: Some(taken), funds: taken.funds, lease_id: taken.lease_id }
    }

    pub(crate) fn account_id(&self) -> AccountId {
        self.account.id
    }

    /// The lease that it is of.
    pub(crate) fn lease_id(&self) -> LeaseId {
        self.lease_id
    }

    /// How much is held.
    pub(crate) fn funds(&self) -> Funds {
        self.funds
    }

    /// Releases what is held, and counts `cost` instead, for ever. Before its event is recorded: from then on it can be
    /// in the log.
    pub(crate) fn charge(mut self, cost: Funding) {
        let Some(taken) = self.taken.take() else { return };
        let cost = Funds::from(cost);
        if !taken.funds.covers(cost) {
            tracing::error!(account = %self.account.id, held = ?taken.funds, ?cost, "a request is charged beyond its hold");
        }
        lock(&self.account.book).charge(&taken, cost);
        self.account.came_free();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            lock(&self.account.book).release(&taken);
            self.account.came_free();
        }
    }
}
