//! Holding funds for a request: from this gateway's lease while that has enough, else from what the ledger grants on it.
//!
//! Nobody is told that a balance is used up while a part of it is held by requests that run, here or at other gateways: most
//! of that comes back when they end. So a request that finds too little waits for a while, in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use schemas::LeaseId;
use schemas::api::{AccountView, Funds, LeaseGrant, LeaseRequest, Refusal};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Account, Hold, lock};
use crate::lease::Told;
use crate::ports::LedgerError;

/// How long a request waits for all that it asks for before it makes do with less.
const ENOUGH_WITHIN: Duration = Duration::from_secs(2);
/// How long it waits for anything at all.
const ANY_WITHIN: Duration = Duration::from_secs(10);
/// How soon the ledger is asked again whether something came back: twice as long each time.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);
const ASK_AGAIN_AT_MOST: Duration = Duration::from_millis(400);
/// How long the ledger may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How a message about a lease can end.
pub(crate) const MESSAGE_ENDS: [&str; 4] = ["granted", "short", "refused", "unavailable"];

/// What a request would hold of the funds that are available.
pub(crate) struct Decided<T> {
    /// What to hold.
    pub(crate) funds: Funds,
    /// Whether that is all that it asks for.
    pub(crate) full: bool,
    /// What else was decided.
    pub(crate) what: T,
}

/// Why nothing could be held.
#[derive(Clone, Debug)]
pub(crate) enum NoFunds {
    /// There is not enough.
    TooLittle {
        /// What there is.
        available: Funds,
        /// What running requests hold, and may give back.
        held: Funds,
    },
    /// The lease could not be renewed.
    Ledger(LedgerError),
}

impl Account {
    /// Lets `decide` say what to hold of what is available, and holds it. Check and hold are one step: two requests never hold
    /// the same cent. `want` is what the request asks for of an account in that state.
    pub(crate) async fn hold<T>(
        self: &Arc<Self>,
        decide: impl Fn(Funds) -> Option<Decided<T>>,
        want: impl Fn(&AccountView) -> Funds,
    ) -> Result<(Hold, T), NoFunds> {
        if self.waiting.load(Ordering::Acquire) == 0
            && let Ok(held) = self.try_hold(Instant::now(), &decide, false)
        {
            return Ok(held);
        }
        let _waiting = Waiting::new(&self.waiting);
        let since = Instant::now();
        let Ok(_turn) = timeout(ANY_WITHIN, self.turns.lock()).await else {
            return self.try_hold(Instant::now(), &decide, true).map_err(|available| self.too_little(available));
        };
        Box::pin(self.wait(since, &decide, &want)).await
    }

    async fn wait<T>(
        self: &Arc<Self>,
        since: Instant,
        decide: &impl Fn(Funds) -> Option<Decided<T>>,
        want: &impl Fn(&AccountView) -> Funds,
    ) -> Result<(Hold, T), NoFunds> {
        let mut pause = ASK_AGAIN_AFTER;
        let mut ask_at = since;
        let mut need = want(&self.view());
        let (mut any, mut exact) = (false, false);
        let mut told = Told { short: false, free: Funds::ZERO, more_elsewhere: true };
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let nothing_comes = told.short && !told.more_elsewhere && !lock(&self.book).is_holding();
            any |= nothing_comes || now >= since + ENOUGH_WITHIN;
            let available = match self.try_hold(now, decide, any) {
                Ok(held) => return Ok(held),
                Err(available) => available,
            };
            // All that could be had by asking for exactly that.
            let could = told.free.plus(available).and_then(decide).filter(|decided| decided.full || any);
            match could {
                _ if now >= since + ANY_WITHIN => {
                    return Err(self.too_little(available.plus(told.free).unwrap_or(available)));
                }
                Some(decided) if told.short => {
                    need = decided.funds;
                    // Others may have taken it meanwhile: the first time at once, then no faster than usual.
                    if !exact {
                        ask_at = now;
                    }
                    exact = true;
                }
                _ if nothing_comes => {
                    return Err(self.too_little(available.plus(told.free).unwrap_or(available)));
                }
                _ => {}
            }
            if now >= ask_at
                && let Some(answer) = self.ask(need).await
            {
                told = match answer {
                    Ok(told) => told,
                    // What is there already is still this gateway's.
                    Err(error) => {
                        return self.try_hold(Instant::now(), decide, true).map_err(|_| NoFunds::Ledger(error));
                    }
                };
                ask_at = Instant::now() + pause;
                pause = (pause * 2).min(ASK_AGAIN_AT_MOST);
                continue;
            }
            let wake_at = ask_at.max(now + ASK_AGAIN_AFTER).min(since + ANY_WITHIN);
            tokio::select! {
                () = changed => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    fn too_little(&self, available: Funds) -> NoFunds {
        let book = lock(&self.book);
        if book.is_lost() {
            return NoFunds::Ledger(LedgerError::Unavailable("the lease is lost, and requests still run on it".into()));
        }
        NoFunds::TooLittle { available, held: book.held() }
    }

    /// Holds what is decided, where that is all that is asked for or `any` will do; else tells what there is.
    fn try_hold<T>(
        self: &Arc<Self>,
        now: Instant,
        decide: &impl Fn(Funds) -> Option<Decided<T>>,
        any: bool,
    ) -> Result<(Hold, T), Funds> {
        let version = self.has_plan_tokens();
        let mut book = lock(&self.book);
        let available = book.available(now);
        // Plan tokens go first: money pays only for what they can't be had for.
        let more_tokens = !any && version.is_some_and(|version| book.may_get_plan_tokens(version));
        let full = |decided: &Decided<T>| decided.full && (decided.funds.usd.is_zero() || !more_tokens);
        let Some(decided) = decide(available).filter(|decided| full(decided) || any) else { return Err(available) };
        let taken = book.take(now, decided.funds).ok_or(available)?;
        let low = book.is_low(now);
        drop(book);
        if low {
            self.ask_in_background(decided.funds);
        }
        Ok((Hold::new(Arc::clone(self), taken), decided.what))
    }

    /// Asks the ledger for `need` beyond what is used; `None` while another message waits for its answer.
    pub(super) async fn ask(self: &Arc<Self>, need: Funds) -> Option<Result<Told, LedgerError>> {
        let fresh = LeaseId(self.lessee.context.new_id());
        let request = lock(&self.book).ask(Instant::now(), self.lessee.sender, self.id(), fresh, need)?;
        Some(self.send(&request).await)
    }

    pub(super) fn ask_in_background(self: &Arc<Self>, need: Funds) {
        let account = Arc::clone(self);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { account.ask(need).await });
        }
    }

    /// Sends a message on a task of its own: whoever waits for the answer may go away, and the book has to hear it.
    pub(super) async fn send(self: &Arc<Self>, request: &LeaseRequest) -> Result<Told, LedgerError> {
        let account = Arc::clone(self);
        // Whatever a message is about, it says what there is to say of requests, too.
        let limits = self.limits();
        let share = lock(&self.limiter).message(Instant::now(), limits, request.close);
        let request = LeaseRequest { requests: Some(share), ..*request };
        let sent = tokio::spawn(async move {
            let unheard = Unheard { account: &account, request: Some(request) };
            let answer = match timeout(ANSWER_WITHIN, account.lessee.ledger.lease(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(LedgerError::Unavailable(format!("no answer within {ANSWER_WITHIN:?}"))),
            };
            unheard.heard(answer)
        });
        sent.await.unwrap_or_else(|panic| Err(LedgerError::Unavailable(panic.to_string())))
    }

    /// Notes the answer to a message, or that there is none.
    fn hear(&self, request: &LeaseRequest, answer: &Result<LeaseGrant, LedgerError>) -> Told {
        let now = Instant::now();
        if let Some(share) = &request.requests {
            let grant = answer.as_ref().ok().and_then(|grant| grant.requests.as_ref());
            lock(&self.limiter).answered(now, share, grant);
        }
        lock(&self.book).answered(now, request, answer)
    }

    /// Funds came free: whoever waits for some here is told; where nobody does, and others may, the ledger is.
    pub(super) fn came_free(self: &Arc<Self>) {
        self.changed.notify_waiters();
        if self.waiting.load(Ordering::Acquire) == 0 && lock(&self.book).is_hoarding() {
            self.ask_in_background(Funds::ZERO);
        }
    }
}

/// A message that the book waits for an answer to, whatever becomes of the task that sent it.
struct Unheard<'a> {
    account: &'a Arc<Account>,
    request: Option<LeaseRequest>,
}

impl Unheard<'_> {
    fn heard(mut self, answer: Result<LeaseGrant, LedgerError>) -> Result<Told, LedgerError> {
        let Some(request) = self.request.take() else { return Err(LedgerError::Unavailable("no message".into())) };
        let told = self.account.hear(&request, &answer);
        self.account.lessee.messages.count(match &answer {
            Ok(_) if !told.short => 0,
            Ok(_) => 1,
            Err(LedgerError::Refused(_)) => 2,
            Err(LedgerError::Unavailable(_)) => 3,
        });
        if let Err(LedgerError::Refused(refusal)) = &answer {
            tracing::warn!(account = %request.account_id, lease = %request.lease_id, %refusal, "a lease was refused");
        }
        let answer = match answer {
            Ok(grant) => {
                self.account.renew_view(grant.account);
                Ok(told)
            }
            // Another lease is opened next, or the same message is sent under a later number.
            Err(LedgerError::Refused(Refusal::UnknownLease { .. } | Refusal::StaleLease { .. })) => {
                Ok(Told { short: false, more_elsewhere: true, ..told })
            }
            Err(LedgerError::Refused(refusal)) => Err(LedgerError::Unavailable(refusal.to_string())),
            Err(error) => Err(error),
        };
        self.account.changed.notify_waiters();
        answer
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let lost = Err(LedgerError::Unavailable("the message was not sent to its end".into()));
            self.account.hear(&request, &lost);
            self.account.changed.notify_waiters();
        }
    }
}

/// Counts as waiting until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
