//! What this gateway may spend of one account by itself: its side of a lease (the ledger's is `accounting::lease`). No
//! clock and no I/O in here.
//!
//! Architecture invariant: what is spent and held on a lease never exceeds its ceiling, and the ceiling is never raised but
//! by what the ledger granted. Before a message asks for anything, the ceiling is lowered to what the message says.

use std::time::Duration;

use schemas::api::{Funds, LeaseGrant, LeaseRequest, Refusal};
use schemas::{AccountId, GatewayId, LeaseId, Offset, RunId};
use tokio::time::Instant;

use crate::ports::LedgerError;

/// Renewals that come faster than this ask for twice as much.
const PACE: Duration = Duration::from_secs(1);
/// What is asked for first, in requests like the one that asks.
const FIRST_WISH: u32 = 3;
/// With less than it takes for so many requests, the account is near its end.
const A_FEW: u32 = 8;

/// Whose messages these are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) gateway_id: GatewayId,
    pub(crate) run_id: RunId,
}

/// The lease on one account, and what runs on it.
#[derive(Debug, Default)]
pub(crate) struct Book {
    open: Option<Open>,
    /// Held by running requests.
    held: Funds,
    /// Charged on the open lease, from its begin on.
    spent: Funds,
    /// The number of the message that waits for its answer, and when it was sent.
    asked: Option<(u64, Instant)>,
    /// What to have beyond what is used, so that requests need not wait.
    headroom: Funds,
    /// What requests took since the last answer.
    taken: Funds,
    /// What the last request took.
    last: Funds,
    /// When the last answer came.
    answered: Option<Instant>,
    /// When something was last held.
    used: Option<Instant>,
    /// Up to where in the log the account was folded when there were no plan tokens to be granted.
    no_plan_tokens: Option<Offset>,
    /// The lease is lost; another is opened when nothing runs on it any more.
    lost: bool,
}

#[derive(Debug)]
struct Open {
    id: LeaseId,
    seq: u64,
    ceiling: Funds,
    /// Requests are admitted before this.
    until: Option<Instant>,
    /// The ledger had less than was wished for, and what is left is not enough for a few requests: what is idle is given
    /// back at once.
    tight: bool,
    closing: bool,
}

/// Funds of one request, taken from a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The lease.
    pub(crate) lease_id: LeaseId,
    /// How much.
    pub(crate) funds: Funds,
}

/// What an answer of the ledger means to whoever waits for funds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Whether it had less than was needed, and granted nothing.
    pub(crate) short: bool,
    /// What it could still grant.
    pub(crate) free: Funds,
    /// Whether more may come back from other gateways.
    pub(crate) more_elsewhere: bool,
}

impl Book {
    /// What can be taken now.
    pub(crate) fn available(&self, now: Instant) -> Funds {
        match &self.open {
            Some(open) if open.until.is_some_and(|until| now < until) && !self.lost && !open.closing => self.idle(),
            _ => Funds::ZERO,
        }
    }

    /// Takes funds for a request; `None` where they are not available.
    pub(crate) fn take(&mut self, now: Instant, funds: Funds) -> Option<Taken> {
        if !self.available(now).covers(funds) {
            return None;
        }
        let lease_id = self.open.as_ref()?.id;
        self.held = self.held.plus(funds)?;
        self.taken = self.taken.plus(funds).unwrap_or(self.taken);
        self.last = funds;
        self.used = Some(now);
        Some(Taken { lease_id, funds })
    }

    /// A request ended without being charged.
    pub(crate) fn release(&mut self, taken: &Taken) {
        self.held = self.held.less(taken.funds);
        self.ended();
    }

    /// A request is charged with `cost`. From now on, for ever: of an event whose recording failed nobody knows whether it
    /// will be found in the log.
    pub(crate) fn charge(&mut self, taken: &Taken, cost: Funds) {
        self.held = self.held.less(taken.funds);
        self.spent = self.spent.plus(cost).unwrap_or(self.spent);
        self.ended();
    }

    fn ended(&mut self) {
        if self.lost && self.held == Funds::ZERO {
            *self = Self { headroom: self.headroom, ..Self::default() };
        }
    }

    /// Whether plan tokens may be there for the asking: the account, folded up to `version`, has some, and the ledger has
    /// not said since that none can be granted.
    pub(crate) fn may_get_plan_tokens(&self, version: Offset) -> bool {
        self.no_plan_tokens.is_none_or(|told| version > told)
    }

    /// Whether the lease is lost, and what ran on it has not ended yet.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether requests hold anything.
    pub(crate) fn is_holding(&self) -> bool {
        self.held != Funds::ZERO
    }

    /// What running requests hold.
    pub(crate) fn held(&self) -> Funds {
        self.held
    }

    /// Whether there is no lease, and nothing runs on one.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.held == Funds::ZERO
    }

    /// Whether a message waits for its answer, or none may be sent.
    pub(crate) fn is_asking(&self) -> bool {
        self.asked.is_some() || self.lost
    }

    /// Whether the next requests might have to wait, and the ledger has more.
    pub(crate) fn is_low(&self, now: Instant) -> bool {
        let tight = self.open.as_ref().is_none_or(|open| open.tight);
        !tight && !self.is_asking() && !self.available(now).covers(half(half(self.headroom)))
    }

    /// Whether others may be waiting for what is idle here.
    pub(crate) fn is_hoarding(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.tight) && !self.is_asking() && !self.idle().is_none()
    }

    /// Whether the ledger should hear of it, so that the lease lasts and others get what is idle here.
    pub(crate) fn is_due(&self, now: Instant, every: Duration) -> bool {
        let busy = self.is_holding() || self.taken != Funds::ZERO;
        self.open.is_some() && !self.is_asking() && busy && self.since_answer(now) >= every
    }

    /// Whether it has not been used for so long that it had better be closed.
    pub(crate) fn is_stale(&self, now: Instant, after: Duration) -> bool {
        let unused = self.used.is_none_or(|used| now.saturating_duration_since(used) >= after);
        self.open.is_some() && !self.is_asking() && !self.is_holding() && unused
    }

    fn idle(&self) -> Funds {
        let Some(open) = &self.open else { return Funds::ZERO };
        open.ceiling.less(self.used_up())
    }

    fn used_up(&self) -> Funds {
        self.spent.plus(self.held).unwrap_or(self.spent)
    }

    fn since_answer(&self, now: Instant) -> Duration {
        self.answered.map_or(Duration::MAX, |answered| now.saturating_duration_since(answered))
    }

    /// A message that asks for `need` beyond what is used; `fresh` is the id of a lease that has to be opened. `None` while
    /// another one waits for its answer.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        sender: Sender,
        account_id: AccountId,
        fresh: LeaseId,
        need: Funds,
    ) -> Option<LeaseRequest> {
        if self.is_asking() {
            return None;
        }
        self.plan(now, need);
        let with_need = self.used_up().plus(need)?;
        let wish = with_need.plus(self.headroom)?;
        let request = self.message(now, sender, account_id, fresh)?;
        let needed = request.ceiling.max(with_need);
        Some(LeaseRequest { need: needed, wish: needed.max(wish), ..request })
    }

    /// The message that closes the lease; `None` where something runs on it, or there is none.
    pub(crate) fn close(&mut self, now: Instant, sender: Sender, account_id: AccountId) -> Option<LeaseRequest> {
        if self.is_holding() {
            return None;
        }
        let id = self.open.as_ref()?.id;
        let request = self.message(now, sender, account_id, id)?;
        let open = self.open.as_mut()?;
        open.closing = true;
        open.ceiling = self.spent;
        Some(LeaseRequest { ceiling: self.spent, need: self.spent, wish: self.spent, close: true, ..request })
    }

    /// Lowers the ceiling to what is used and, unless others wait for it, half of what is not.
    fn message(&mut self, now: Instant, sender: Sender, account_id: AccountId, fresh: LeaseId) -> Option<LeaseRequest> {
        if self.is_asking() {
            return None;
        }
        let used = self.used_up();
        let idle = self.idle();
        let new = || Open { id: fresh, seq: 0, ceiling: Funds::ZERO, until: None, tight: false, closing: false };
        let open = self.open.get_or_insert_with(new);
        let keep = if open.tight { Funds::ZERO } else { half(idle) };
        open.ceiling = open.ceiling.min(used.plus(keep).unwrap_or(used));
        open.seq += 1;
        self.asked = Some((open.seq, now));
        Some(LeaseRequest {
            account_id,
            lease_id: open.id,
            gateway_id: sender.gateway_id,
            run_id: sender.run_id,
            seq: open.seq,
            spent: self.spent,
            ceiling: open.ceiling,
            need: open.ceiling,
            wish: open.ceiling,
            close: false,
            requests: None,
        })
    }

    /// How much to have beyond what is used: twice as much where it did not last, what a second takes where it did.
    fn plan(&mut self, now: Instant, need: Funds) {
        let tight = self.open.as_ref().is_some_and(|open| open.tight);
        let least = times(need, FIRST_WISH);
        self.headroom = match self.since_answer(now) {
            _ if tight => self.headroom.min(self.taken.max(least)),
            // Asked for something else, or by who tends it.
            since if since < PACE && need.is_none() => self.headroom,
            since if since < PACE => times(self.headroom, 2).min(most()).max(least),
            _ => self.headroom.min(times(self.taken, 2)).max(least),
        };
    }

    /// The ledger's answer to message `seq`.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        request: &LeaseRequest,
        answer: &Result<LeaseGrant, LedgerError>,
    ) -> Told {
        let nothing = Told { short: true, free: Funds::ZERO, more_elsewhere: false };
        let Some((seq, sent)) = self.asked.filter(|(seq, _)| *seq == request.seq) else { return nothing };
        let Some(open) = self.open.as_mut().filter(|open| open.id == request.lease_id) else { return nothing };
        self.asked = None;
        self.answered = Some(now);
        self.taken = Funds::ZERO;
        match answer {
            Ok(_) if request.close => {
                *self = Self { headroom: self.headroom, ..Self::default() };
                nothing
            }
            Ok(grant) if grant.seq == seq => {
                open.ceiling = grant.granted;
                open.until = sent.checked_add(Duration::from_millis(grant.ttl_ms));
                let idle = grant.granted.less(self.spent.plus(self.held).unwrap_or(grant.granted));
                open.tight = grant.tight && !idle.covers(times(self.last, A_FEW));
                self.no_plan_tokens = (grant.free.plan_tokens == 0).then_some(grant.account.version.offset);
                if grant.tight {
                    self.headroom = self.headroom.min(idle);
                }
                Told {
                    short: !grant.granted.covers(request.need),
                    free: grant.free,
                    more_elsewhere: !grant.idle_elsewhere.is_none(),
                }
            }
            Err(LedgerError::Refused(Refusal::StaleLease { last, .. })) => {
                open.seq = open.seq.max(*last);
                nothing
            }
            // What is lost may have been given to others; so nothing is admitted on it.
            Err(LedgerError::Refused(Refusal::UnknownLease { .. })) => {
                self.lost = true;
                self.ended();
                nothing
            }
            Ok(_) | Err(_) => {
                open.closing = false;
                Told { more_elsewhere: true, ..nothing }
            }
        }
    }
}

/// A million dollars: no wish is larger, however often it is doubled.
fn most() -> Funds {
    Funds { usd: schemas::Usd::from_pico(1_000_000_000_000_000_000), plan_tokens: 1 << 50 }
}

fn half(funds: Funds) -> Funds {
    let usd = funds.usd.to_pico().map(|pico| schemas::Usd::from_pico(pico / 2));
    Funds { usd: usd.unwrap_or_default(), plan_tokens: funds.plan_tokens / 2 }
}

fn times(funds: Funds, count: u32) -> Funds {
    (1..count).try_fold(funds, |sum, _| sum.plus(funds)).unwrap_or(funds)
}

#[cfg(test)]
mod tests;
