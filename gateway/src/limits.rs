//! How many requests an account may make: in a minute, and at once. No clock in here.
//!
//! The window slides: never are more than the limit admitted within any 60 seconds. Admissions within a hundredth of a
//! second are kept as one, at the time of the last, so an account takes a bounded memory whatever its limit is.
//!
//! A [`Limiter`] is one gateway's; a [`SharedLimiter`] keeps to what the ledger says is this gateway's share of the limits, so
//! that all gateways together keep to them.

mod share;
mod shared;

use std::collections::VecDeque;
use std::time::Duration;

use schemas::api::{AccountView, Leaving};
use tokio::time::Instant;

pub(crate) use self::shared::{NotAdmitted, SharedLimiter};

const WINDOW: Duration = Duration::from_mins(1);
const KEPT_AS_ONE: Duration = Duration::from_millis(10);
/// What to wait for when too many requests run: nobody knows when one of them ends.
const IN_FLIGHT_RETRY_SECONDS: u64 = 1;

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Requests admitted within any 60 seconds.
    pub(crate) per_minute: u32,
    /// Requests running at once.
    pub(crate) in_flight: u32,
}

impl Limits {
    /// Those of the account's plan. An account that has ever paid may make at least `paid_per_minute` requests a minute.
    pub(crate) fn of(view: &AccountView, paid_per_minute: u32) -> Self {
        let floor = if view.paid { paid_per_minute } else { 0 };
        Self { per_minute: view.plan.requests_per_minute.max(floor), in_flight: view.plan.max_in_flight }
    }
}

/// How much of the minute's limit is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Requests admitted within any 60 seconds.
    pub(crate) limit: u32,
    /// How many more would be admitted now.
    pub(crate) remaining: u32,
    /// When `remaining` is `limit` again if no more come, in seconds, rounded up.
    pub(crate) reset_seconds: u64,
}

/// A request that came too soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// The minute's limit is used up.
    InAMinute {
        /// The limit.
        limit: u32,
        /// When the next one will be admitted, in seconds, rounded up.
        retry_after_seconds: u64,
    },
    /// As many as may run at once are running.
    AtOnce {
        /// The limit.
        limit: u32,
        /// When to try again, in seconds.
        retry_after_seconds: u64,
    },
}

/// What one account has been admitted to of late.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// Oldest first.
    admitted: VecDeque<Admissions>,
    /// How many those are.
    used: u64,
    running: u32,
}

/// Admissions that are kept as one.
#[derive(Clone, Copy, Debug)]
struct Admissions {
    first: Instant,
    last: Instant,
    count: u64,
}

impl Limiter {
    /// Admits a request, which counts as running until [`Limiter::ended`], or says why not. A refused one counts nowhere.
    pub(crate) fn admit(&mut self, now: Instant, limits: Limits) -> Result<(), TooMany> {
        self.check(now, limits)?;
        self.count(now);
        Ok(())
    }

    fn count(&mut self, now: Instant) {
        match self.admitted.back_mut() {
            Some(latest) if now.saturating_duration_since(latest.first) < KEPT_AS_ONE => {
                latest.last = now;
                latest.count += 1;
            }
            _ => self.admitted.push_back(Admissions { first: now, last: now, count: 1 }),
        }
        self.used += 1;
        self.running += 1;
    }

    /// Says why a request would not be admitted, if so.
    pub(crate) fn check(&mut self, now: Instant, limits: Limits) -> Result<(), TooMany> {
        if self.running >= limits.in_flight {
            let retry_after_seconds = IN_FLIGHT_RETRY_SECONDS;
            return Err(TooMany::AtOnce { limit: limits.in_flight, retry_after_seconds });
        }
        self.forget(now);
        let limit = u64::from(limits.per_minute);
        if self.used >= limit {
            let retry_after_seconds = self.until_fewer_than(limit, now);
            return Err(TooMany::InAMinute { limit: limits.per_minute, retry_after_seconds });
        }
        Ok(())
    }

    /// One of the running requests is over.
    pub(crate) fn ended(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Whether nothing would be lost by forgetting this account.
    pub(crate) fn is_idle(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.running == 0 && self.admitted.is_empty()
    }

    /// How much of the minute's limit is left.
    pub(crate) fn standing(&mut self, now: Instant, limits: Limits) -> Standing {
        self.forget(now);
        let remaining = u64::from(limits.per_minute).saturating_sub(self.used);
        Standing {
            limit: limits.per_minute,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset_seconds: self.admitted.back().map_or(0, |latest| latest.seconds_left(now)),
        }
    }

    /// Forgets what has left the window; returns how many those are.
    fn forget(&mut self, now: Instant) -> u64 {
        let before = self.used;
        while let Some(oldest) = self.admitted.front()
            && now.saturating_duration_since(oldest.last) >= WINDOW
        {
            self.used -= oldest.count;
            self.admitted.pop_front();
        }
        before - self.used
    }

    /// When the admissions in the window leave it.
    fn leaving(&self, now: Instant) -> Leaving {
        let mut leaving = Leaving::NONE;
        for admissions in &self.admitted {
            let count = u32::try_from(admissions.count).unwrap_or(u32::MAX);
            leaving.add(u64::try_from(admissions.left(now).as_millis()).unwrap_or(u64::MAX).saturating_add(1), count);
        }
        leaving
    }

    /// In how many seconds fewer than `limit` admissions are in the window. For a limit of zero there is no such time.
    fn until_fewer_than(&self, limit: u64, now: Instant) -> u64 {
        let mut left = self.used;
        for admissions in &self.admitted {
            left -= admissions.count;
            if left < limit {
                return admissions.seconds_left(now);
            }
        }
        WINDOW.as_secs()
    }
}

impl Admissions {
    /// In how many seconds they are out of the window, rounded up.
    fn seconds_left(&self, now: Instant) -> u64 {
        seconds(self.left(now))
    }

    fn left(&self, now: Instant) -> Duration {
        WINDOW.saturating_sub(now.saturating_duration_since(self.last))
    }
}

/// Rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
