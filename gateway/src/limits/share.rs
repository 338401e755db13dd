//! What this gateway may use of one limit by itself.
//!
//! Architecture invariant: a share is raised by nothing but the ledger's answer to the last message. Before a message asks for
//! anything, the share is lowered to what the message says is kept.

use std::time::Duration;

use schemas::api::{self, ShareClaim};
use tokio::time::Instant;

/// What to have beyond what is used at first.
const FEW: u32 = 4;
/// This part of the limit at most: of a small one nothing is kept for requests that may not come, others need it now.
const PART: u32 = 16;
/// A refusal is remembered for so long at most: others may give back any time.
const ASK_AGAIN_WITHIN: Duration = Duration::from_secs(1);
/// However soon something may come back, the ledger is not asked more often.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// After refusals in a row the ledger is asked again later and later, up to 2⁴ times [`ASK_AGAIN_AFTER`].
const MOST_DOUBLINGS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Share {
    most: u32,
    /// Down to this it shrinks as requests leave the window, or end.
    fair: u32,
    /// What to have beyond what is used, so that requests need not wait.
    headroom: u32,
    refused: Option<Refused>,
    /// Refusals since something was granted.
    refusals: u32,
}

/// The ledger had less than was needed.
#[derive(Clone, Copy, Debug)]
struct Refused {
    ask_again_at: Instant,
    retry_at: Instant,
}

/// What a message about a share is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// Counted now.
    pub(super) used: u32,
    /// Requests that wait for the answer.
    pub(super) waiting: u32,
    /// How much was taken since the last answer.
    pub(super) taken: u32,
    /// That came a second ago, or earlier.
    pub(super) lasted: bool,
    /// The limit of all gateways together.
    pub(super) limit: u32,
}

impl Share {
    /// Whether one more than `used` may be used.
    pub(super) fn covers_one_more(&self, used: u32) -> bool {
        used < self.most
    }

    /// Whether there is nothing to give back.
    pub(super) fn is_none(&self) -> bool {
        self.most == 0
    }

    /// So many of the requests left the window, or ended.
    pub(super) fn left(&mut self, count: u32) {
        self.most = self.most.saturating_sub(count).max(self.most.min(self.fair));
    }

    /// Nothing is admitted any more until the next answer to a message that asks.
    pub(super) fn rest(&mut self, used: u32) -> ShareClaim {
        self.most = self.most.min(used);
        self.fair = 0;
        ShareClaim { keep: used, need: used, wish: used }
    }

    /// What was granted is void: the answer came too long ago.
    pub(super) fn end(&mut self, used: u32) {
        self.most = self.most.min(used);
    }

    /// Whether something of a small limit is not used, that others may need now.
    pub(super) fn is_hoarding(&self, used: u32, limit: u32) -> bool {
        limit < PART && self.most > used
    }

    /// Whether the next requests might have to wait, and the ledger may have more.
    pub(super) fn is_low(&self, now: Instant, used: u32, limit: u32) -> bool {
        let most = limit.min(if self.others_want() { self.fair } else { u32::MAX });
        limit >= PART && self.most < most && self.is_short(used) && self.refused(now).is_none()
    }

    fn is_short(&self, used: u32) -> bool {
        self.most.saturating_sub(used) <= self.headroom / 4
    }

    fn others_want(&self) -> bool {
        self.fair < u32::MAX
    }

    /// Lowers the share to what is used and will soon be, and asks for more: twice as much beyond what is used where it did
    /// not last a second, what two seconds take where it did.
    pub(super) fn ask(&mut self, of: Use) -> ShareClaim {
        let Use { used, waiting, taken, lasted, limit } = of;
        let planned = match lasted {
            true => self.headroom.min(taken.saturating_mul(2)),
            false if self.is_short(used) => self.headroom.saturating_mul(2),
            false => self.headroom,
        };
        self.headroom = planned.max(FEW).min(limit / PART);
        let fair = if self.others_want() { self.fair.max(used) } else { u32::MAX };
        let keep = used.saturating_add(self.headroom.max(taken)).min(fair).min(self.most).max(used);
        self.most = self.most.min(keep);
        let need = if waiting > 0 { keep.max(used.saturating_add(1)) } else { keep };
        let wish = used.saturating_add(waiting).saturating_add(self.headroom).min(limit).max(need);
        ShareClaim { keep, need, wish }
    }

    /// The ledger's answer to the last message.
    pub(super) fn granted(&mut self, now: Instant, claim: ShareClaim, share: api::Share, retry_after: Duration) {
        self.most = share.most;
        self.fair = share.fair.unwrap_or(u32::MAX);
        if share.most < claim.need {
            let ask_again_at = now + retry_after.clamp(ASK_AGAIN_AFTER, ASK_AGAIN_WITHIN);
            self.refuse(ask_again_at, now + retry_after.max(ASK_AGAIN_AFTER));
        } else if claim.need > claim.keep {
            self.refused = None;
            self.refusals = 0;
        }
    }

    /// As [`Share::granted`], of requests that run at once: nobody knows when one ends, and what others do not use comes
    /// back soon.
    pub(super) fn granted_at_once(
        &mut self,
        now: Instant,
        claim: ShareClaim,
        share: api::Share,
        retry_after: Duration,
    ) {
        self.granted(now, claim, share, retry_after);
        if share.most < claim.need {
            let again = ASK_AGAIN_AFTER.saturating_mul(1 << self.refusals.min(MOST_DOUBLINGS));
            self.refusals = self.refusals.saturating_add(1);
            self.refuse(now + again, now + retry_after);
        }
    }

    fn refuse(&mut self, ask_again_at: Instant, retry_at: Instant) {
        self.refused = Some(Refused { ask_again_at, retry_at });
    }

    /// How long to wait, where the ledger refused more and need not be asked again yet.
    pub(super) fn refused(&self, now: Instant) -> Option<Duration> {
        let refused = self.refused.filter(|refused| now < refused.ask_again_at)?;
        Some(refused.retry_at.saturating_duration_since(now))
    }
}
