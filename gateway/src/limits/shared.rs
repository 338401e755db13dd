//! A limiter that keeps to this gateway's share of the account's limits (the ledger's side is `accounting::request_shares`). No
//! clock and no I/O in here.

use std::time::Duration;

use schemas::api::{RequestLimits, ShareGrant, ShareRequest};
use tokio::time::Instant;

use super::share::{Share, Use};
use super::{Limiter, Limits, Standing, TooMany, seconds};

/// A gateway that has admitted nothing for so long gives back all that it does not use.
const REST_AFTER: Duration = Duration::from_secs(1);
/// How often more is asked for in the background at most.
const NUDGE_EVERY: Duration = Duration::from_millis(20);
/// A share that lasted so long is as large as it need be.
const PACE: Duration = Duration::from_secs(1);
/// An account that may make no more requests a minute can have a message for each: what it does not use at once is given back
/// as soon as a request is over. Its next one may come to another gateway.
const FEW_PER_MINUTE: u32 = 60;
/// So long after the last answer the ledger has forgotten this gateway: `VALID` and `WINDOW` of `accounting::request_shares`.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(70);

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// It came too soon.
    TooMany(TooMany),
    /// Others have all that may run at once. What they do not use comes back soon.
    Elsewhere(TooMany),
    /// The ledger has to be asked whether it did.
    NoShare,
}

/// What one account has been admitted to of late, and may be by this gateway alone.
#[derive(Debug, Default)]
pub(crate) struct SharedLimiter {
    own: Limiter,
    per_minute: Share,
    at_once: Share,
    /// Requests are admitted before this.
    until: Option<Instant>,
    seq: u64,
    /// The message that waits for its answer, and when it was sent.
    asked: Option<(ShareRequest, Instant)>,
    answered: Option<Instant>,
    /// Admitted since then.
    taken: u32,
    /// The most that ran at once since then.
    peak: u32,
    /// When the last request was admitted.
    admitted: Option<Instant>,
    /// Requests that wait for an answer.
    waiting: u32,
    /// Nothing of the requests at once is kept that is not used now.
    gives_back: bool,
    /// The ledger knows that nothing is admitted, or will with the message that waits for its answer.
    rests: bool,
    nudged: Option<Instant>,
    /// What other gateways admitted, and when that has left the window.
    elsewhere: Option<(u32, Instant)>,
}

impl SharedLimiter {
    /// Admits a request, which counts as running until [`SharedLimiter::ended`], or says why not. Where one is admitted, tells
    /// whether to ask the ledger for more before the next ones have to wait for it.
    pub(crate) fn admit(&mut self, now: Instant, limits: Limits) -> Result<bool, NotAdmitted> {
        self.check(now, limits)?;
        self.own.count(now);
        self.taken = self.taken.saturating_add(1);
        self.peak = self.peak.max(self.own.running);
        self.admitted = Some(now);
        let low = self.asked.is_none()
            && (self.per_minute.is_low(now, self.used(), limits.per_minute)
                || self.at_once.is_low(now, self.own.running, limits.in_flight))
            && self.nudged.is_none_or(|nudged| now.saturating_duration_since(nudged) >= NUDGE_EVERY);
        if low {
            self.nudged = Some(now);
        }
        Ok(low)
    }

    /// Says why a request would not be admitted, if so.
    pub(crate) fn check(&mut self, now: Instant, limits: Limits) -> Result<(), NotAdmitted> {
        self.forget(now);
        self.own.check(now, limits).map_err(NotAdmitted::TooMany)?;
        if self.until.is_none_or(|until| now >= until) {
            return Err(NotAdmitted::NoShare);
        }
        if !self.at_once.covers_one_more(self.own.running) {
            return Err(self.at_once.refused(now).map_or(NotAdmitted::NoShare, |after| {
                let retry_after_seconds = seconds(after).max(1);
                NotAdmitted::Elsewhere(TooMany::AtOnce { limit: limits.in_flight, retry_after_seconds })
            }));
        }
        if !self.per_minute.covers_one_more(self.used()) {
            return Err(self.per_minute.refused(now).map_or(NotAdmitted::NoShare, |after| {
                let retry_after_seconds = seconds(after).max(1);
                NotAdmitted::TooMany(TooMany::InAMinute { limit: limits.per_minute, retry_after_seconds })
            }));
        }
        Ok(())
    }

    /// One of the running requests is over.
    pub(crate) fn ended(&mut self) {
        self.own.ended();
        self.at_once.left(1);
    }

    /// Whether other gateways should have now what nothing runs on here; the next message says so.
    pub(crate) fn hoards(&mut self, limits: Limits) -> bool {
        self.gives_back = limits.per_minute <= FEW_PER_MINUTE
            && self.asked.is_none()
            && self.waiting == 0
            && self.at_once.is_hoarding(self.own.running, limits.in_flight);
        self.gives_back
    }

    /// A request waits for the ledger's answer, or does so no longer.
    pub(crate) fn waits(&mut self, waits: bool) {
        self.waiting = if waits { self.waiting.saturating_add(1) } else { self.waiting.saturating_sub(1) };
    }

    /// Whether nothing would be lost by forgetting this account.
    pub(crate) fn is_idle(&mut self, now: Instant) -> bool {
        self.forget(now);
        let forgotten = self.since_answer(now) >= FORGOTTEN_AFTER;
        self.own.is_idle(now) && self.waiting == 0 && self.asked.is_none() && forgotten
    }

    /// How much of the minute's limit is left.
    pub(crate) fn standing(&mut self, now: Instant, limits: Limits) -> Standing {
        self.forget(now);
        let own = self.own.standing(now, limits);
        match self.elsewhere {
            Some((count, leaves_at)) if now < leaves_at => Standing {
                remaining: own.remaining.saturating_sub(count),
                reset_seconds: own.reset_seconds.max(seconds(leaves_at.saturating_duration_since(now))),
                ..own
            },
            _ => own,
        }
    }

    /// Whether the ledger should hear of it, so that the share lasts and others get what is idle here.
    pub(crate) fn is_due(&self, now: Instant, every: Duration) -> bool {
        let has = !self.per_minute.is_none() || !self.at_once.is_none();
        has && !self.rests && self.asked.is_none() && self.since_answer(now) >= every
    }

    /// The message about this account's share; `closing` where nothing more is admitted by this run of the gateway. One at a
    /// time, whose answer, or want of one, is told to [`SharedLimiter::answered`].
    pub(crate) fn message(&mut self, now: Instant, limits: Limits, closing: bool) -> ShareRequest {
        self.forget(now);
        let (used, running) = (self.used(), self.own.running);
        if self.until.is_none_or(|until| now >= until) {
            self.per_minute.end(used);
            self.at_once.end(running);
        }
        let quiet = self.admitted.is_none_or(|at| now.saturating_duration_since(at) >= REST_AFTER);
        self.rests = running == 0 && self.waiting == 0 && (quiet || closing);
        let lasted = self.since_answer(now) >= PACE;
        let (per_minute, at_once) = if self.rests {
            (self.per_minute.rest(used), self.at_once.rest(running))
        } else {
            let (waiting, taken) = (self.waiting, self.taken);
            let peak = if std::mem::take(&mut self.gives_back) { 0 } else { self.peak.saturating_sub(running) };
            let minute = Use { used, waiting, taken, lasted, limit: limits.per_minute };
            let running = Use { used: running, waiting, taken: peak, lasted, limit: limits.in_flight };
            (self.per_minute.ask(minute), self.at_once.ask(running))
        };
        self.seq += 1;
        let limits = RequestLimits { per_minute: limits.per_minute, at_once: limits.in_flight };
        let (seq, leaving, rests) = (self.seq, self.own.leaving(now), self.rests);
        let message = ShareRequest { seq, limits, per_minute, at_once, leaving, rests };
        self.asked = Some((message, now));
        message
    }

    /// The ledger's answer to a message; `None` where there is none, or it was heard too late.
    pub(crate) fn answered(&mut self, now: Instant, message: &ShareRequest, grant: Option<&ShareGrant>) {
        let Some((_, sent)) = self.asked.take_if(|(asked, _)| asked.seq == message.seq) else { return };
        self.answered = Some(now);
        let Some(grant) = grant.filter(|grant| grant.seq == message.seq) else { return };
        let millis = Duration::from_millis;
        self.elsewhere = Some((grant.elsewhere, now + millis(grant.elsewhere_leaves_ms)));
        if message.rests {
            return;
        }
        self.taken = 0;
        self.peak = self.own.running;
        self.until = sent.checked_add(millis(grant.valid_ms));
        self.per_minute.granted(now, message.per_minute, grant.per_minute, millis(grant.retry_after_ms));
        self.at_once.granted_at_once(
            now,
            message.at_once,
            grant.at_once,
            Duration::from_secs(super::IN_FLIGHT_RETRY_SECONDS),
        );
    }

    fn forget(&mut self, now: Instant) {
        let left = self.own.forget(now);
        self.per_minute.left(u32::try_from(left).unwrap_or(u32::MAX));
    }

    /// How many requests are in the window.
    fn used(&self) -> u32 {
        u32::try_from(self.own.used).unwrap_or(u32::MAX)
    }

    fn since_answer(&self, now: Instant) -> Duration {
        self.answered.map_or(Duration::MAX, |answered| now.saturating_duration_since(answered))
    }
}

#[cfg(test)]
mod tests;
