//! How many of an account's requests each gateway may admit by itself, so that all of them together keep to the plan's limits.
//!
//! A *share* is told whole: no more requests than it are ever within a gateway's own window of 60 seconds, and no more than
//! it run at once there. The shares of all gateways never exceed the limit, so neither do their requests, whatever becomes of
//! a message, and without any clock being compared with another.
//!
//! A share that its gateway does not renew ends: first admission on it, [`VALID`] after the message was sent, and a window
//! later, when all that was admitted has left, the share. What was admitted until then counts.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::api::{Leaving, Share, ShareClaim, ShareGrant, ShareRequest};
use schemas::{GatewayId, RunId, Timestamp};
use serde::{Deserialize, Serialize};

/// For how long from the sending of its message a gateway admits requests on its share.
pub const VALID: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_mins(1);
/// A gateway that found too little counts as wanting more for so long. One that is still asked asks again within a second.
const WANTED_FOR: Duration = Duration::from_secs(3);
/// A gateway that is alive is heard of at least so often while it has something to give back.
const HEARD_EVERY: Duration = Duration::from_secs(1);
/// The text of [`RequestShares::from_document`].
pub use serde_json::Error as NotShares;

/// The shares of one account's requests.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestShares {
    /// By the run of a gateway.
    runs: BTreeMap<RunId, Held>,
}

/// What a run of a gateway may admit, as the ledger knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    gateway_id: GatewayId,
    /// The number of its last message.
    seq: u64,
    /// When that was heard.
    heard_at: Timestamp,
    per_minute: u32,
    at_once: u32,
    /// When what it had admitted leaves, from `heard_at` on.
    leaving: Leaving,
    /// It admits nothing before it is heard of again.
    rests: bool,
    minute_wanted_at: Option<Timestamp>,
    at_once_wanted_at: Option<Timestamp>,
}

impl Held {
    fn unheard(&self, now: Timestamp) -> Duration {
        since(self.heard_at, now)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.unheard(now) >= VALID + WINDOW
    }

    /// How many of its requests may be within a window that ends now or later.
    fn counted(&self, now: Timestamp) -> u32 {
        match self.rests {
            _ if self.is_over(now) => 0,
            true => self.used(now),
            false => self.per_minute,
        }
    }

    /// How many of its requests are known to be in the window.
    fn used(&self, now: Timestamp) -> u32 {
        self.leaving.left_after(millis(self.unheard(now)))
    }

    /// How many of its requests may run.
    fn running(&self, now: Timestamp) -> u32 {
        if self.is_over(now) { 0 } else { self.at_once }
    }

    fn is_of_use(&self, now: Timestamp) -> bool {
        let counts = self.counted(now) > 0 || self.running(now) > 0;
        counts || !self.rests && self.unheard(now) < VALID
    }
}

/// What the other gateways have of one limit.
#[derive(Clone, Debug, Default)]
struct Others {
    /// In all.
    counted: u32,
    /// Those that admit requests.
    active: u32,
    /// What each of those has that found too little of late.
    wanting: Vec<u32>,
    /// What those have that did not.
    content: u32,
}

impl Others {
    fn add(&mut self, counted: u32, active: bool, wanting: bool) {
        self.counted = self.counted.saturating_add(counted);
        self.active += u32::from(active);
        if wanting {
            self.wanting.push(counted);
        } else {
            self.content = self.content.saturating_add(counted);
        }
    }

    /// What becomes of a share: what is needed, where there is as much that is not meant for others, and of the rest an equal
    /// part at most.
    fn grant(&self, limit: u32, claim: ShareClaim) -> Share {
        let fair = self.fair(limit, claim.keep);
        let taken = self.counted.saturating_add(self.meant(limit, claim.keep)).saturating_add(claim.keep);
        let free = limit.saturating_sub(taken);
        let need = claim.need.max(claim.keep);
        if claim.keep.saturating_add(free) < need {
            return Share { most: claim.keep, fair };
        }
        let part = claim.keep.saturating_add(free / (1 + self.active));
        let wish = claim.wish.min(part).min(fair.unwrap_or(u32::MAX));
        Share { most: need.max(wish), fair }
    }

    /// An equal part of what those have that want more; `None` where nobody else does.
    fn fair(&self, limit: u32, keep: u32) -> Option<u32> {
        let too_much = self.counted.saturating_add(keep) > limit;
        let parts = u32::try_from(self.wanting.len()).unwrap_or(u32::MAX).saturating_add(1);
        (parts > 1 || too_much).then(|| limit.saturating_sub(self.content) / parts)
    }

    /// What is meant for others that want more and have less than what is fair, where this one has that.
    fn meant(&self, limit: u32, keep: u32) -> u32 {
        match self.fair(limit, keep) {
            Some(fair) if keep >= fair => {
                self.wanting.iter().fold(0, |sum: u32, has| sum.saturating_add(fair.saturating_sub(*has)))
            }
            _ => 0,
        }
    }
}

impl RequestShares {
    /// Decides on a gateway's message, heard at `now`. `None` where a later one was heard already.
    ///
    /// The gateway keeps to what it says from the moment it sent the message, so what its share was above that is free.
    pub fn renew(
        &mut self,
        now: Timestamp,
        gateway_id: GatewayId,
        run_id: RunId,
        request: &ShareRequest,
    ) -> Option<ShareGrant> {
        self.tidy(now, gateway_id, run_id);
        let before = self.runs.remove(&run_id);
        if let Some(before) = before.filter(|before| before.seq >= request.seq) {
            self.runs.insert(run_id, before);
            return None;
        }
        let (mut minute, mut at_once) = (Others::default(), Others::default());
        for other in self.runs.values() {
            let active = !other.rests && other.unheard(now) < VALID;
            minute.add(other.counted(now), active, is_recent(other.minute_wanted_at, now));
            at_once.add(other.running(now), active, is_recent(other.at_once_wanted_at, now));
        }
        let per_minute = minute.grant(request.limits.per_minute, request.per_minute);
        let running = at_once.grant(request.limits.at_once, request.at_once);
        let wanted_at = |share: Share, need: u32, before: Option<Timestamp>| {
            if share.most < need { Some(now) } else { before.filter(|at| is_recent(Some(*at), now)) }
        };
        let held = Held {
            gateway_id,
            seq: request.seq,
            heard_at: now,
            per_minute: per_minute.most,
            at_once: running.most,
            leaving: request.leaving,
            rests: request.rests,
            minute_wanted_at: wanted_at(
                per_minute,
                request.per_minute.need,
                before.and_then(|held| held.minute_wanted_at),
            ),
            at_once_wanted_at: wanted_at(running, request.at_once.need, before.and_then(|held| held.at_once_wanted_at)),
        };
        let meant = minute.meant(request.limits.per_minute, request.per_minute.keep);
        let retry_after_ms = self.until_there_are(request, minute.counted, meant, now);
        let elsewhere = self.runs.values().fold(0, |sum: u32, other| sum.saturating_add(other.used(now)));
        let elsewhere_leaves_ms = self.leaving_elsewhere(now).map(|(at, _)| at).max().unwrap_or(0);
        if held.is_of_use(now) {
            self.runs.insert(run_id, held);
        }
        Some(ShareGrant {
            seq: request.seq,
            per_minute,
            at_once: running,
            valid_ms: millis(VALID),
            retry_after_ms,
            elsewhere,
            elsewhere_leaves_ms,
        })
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Forgets what no longer counts. Of a gateway's earlier runs nothing runs any more: their ids are in the order of time,
    /// and a gateway has one run at a time. A time of the future is one of a clock that was set back since.
    fn tidy(&mut self, now: Timestamp, gateway_id: GatewayId, run_id: RunId) {
        for (run, held) in &mut self.runs {
            held.heard_at = held.heard_at.min(now);
            if held.gateway_id == gateway_id && *run < run_id {
                held.at_once = 0;
            }
        }
        self.runs.retain(|_, held| held.is_of_use(now));
    }

    /// In how many milliseconds how many of the other gateways' requests leave the window.
    fn leaving_elsewhere(&self, now: Timestamp) -> impl Iterator<Item = (u64, u32)> {
        self.runs.values().flat_map(move |other| {
            let unheard = millis(other.unheard(now));
            let leaving = other.leaving;
            leaving
                .iter()
                .filter(move |(at, _)| *at > unheard)
                .map(move |(at, count)| (at - unheard, count))
                .collect::<Vec<_>>()
        })
    }

    /// In how many milliseconds what is needed may be there, which is not while others have `counted` and more is `meant` for
    /// them.
    fn until_there_are(&self, request: &ShareRequest, counted: u32, meant: u32, now: Timestamp) -> u64 {
        let need = u64::from(request.per_minute.need.max(request.per_minute.keep));
        let taken = need + u64::from(counted) + u64::from(meant);
        let mut short = taken.saturating_sub(u64::from(request.limits.per_minute));
        let mut comes: Vec<(u64, u32)> = request.leaving.iter().chain(self.leaving_elsewhere(now)).collect();
        // They take it, or turn out not to want it any more.
        comes.push((millis(HEARD_EVERY), meant));
        for other in self.runs.values() {
            let idle = other.counted(now).saturating_sub(other.used(now));
            let unheard = other.unheard(now);
            // One that is alive hears that others want it; of one that is not, all that it may have admitted has to leave.
            let after = if unheard < WANTED_FOR { HEARD_EVERY } else { (VALID + WINDOW).saturating_sub(unheard) };
            comes.push((millis(after), idle));
        }
        comes.sort_unstable();
        for (at, count) in comes {
            short = short.saturating_sub(u64::from(count));
            if short == 0 {
                return at;
            }
        }
        millis(WINDOW)
    }

    /// As JSON, canonical.
    ///
    /// # Errors
    /// None in practice: no part of it has a form that JSON lacks.
    pub fn to_document(&self) -> Result<String, NotShares> {
        serde_json::to_string(self)
    }

    /// Reads what [`RequestShares::to_document`] wrote.
    ///
    /// # Errors
    /// Whatever is no such document, an unknown field included.
    pub fn from_document(text: &str) -> Result<Self, NotShares> {
        serde_json::from_str(text)
    }
}

fn is_recent(wanted_at: Option<Timestamp>, now: Timestamp) -> bool {
    wanted_at.is_some_and(|at| at <= now && since(at, now) < WANTED_FOR)
}

/// None where `then` is later.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    let micros = now.as_micros().saturating_sub(then.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
