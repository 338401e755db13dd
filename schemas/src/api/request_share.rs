//! Shares of a plan's limits of requests: what a gateway may admit by itself. They travel with the messages about leases.
//!
//! A share is told whole, never as a change. So a message that is lost or repeated changes nothing that the next one does not
//! put right.

use serde::{Deserialize, Serialize};

/// Seconds of the window that requests a minute are counted in.
const WINDOW_SECONDS: u8 = 60;

/// A plan's limits of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimits {
    /// Requests admitted within any 60 seconds.
    pub per_minute: u32,
    /// Requests running at once.
    pub at_once: u32,
}

/// What a gateway says of its share of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareClaim {
    /// The most that it uses until it hears otherwise. What its share was above that is given back.
    pub keep: u32,
    /// What the share has to be for the request that waits.
    pub need: u32,
    /// What it would best be, so that the next requests need not ask.
    pub wish: u32,
}

/// When requests that were admitted are older than a minute: how many are so at each full second from the sending of the
/// message on, 1 to 60. As JSON, pairs of second and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u8, u32)>", into = "Vec<(u8, u32)>")]
pub struct Leaving([u32; WINDOW_SECONDS as usize]);

impl Leaving {
    /// Nothing was admitted within the last minute.
    pub const NONE: Self = Self([0; WINDOW_SECONDS as usize]);

    /// Adds requests that leave the window in so many seconds: rounded up, and at most a minute.
    pub fn add(&mut self, in_millis: u64, count: u32) {
        let second = in_millis.div_ceil(1_000).clamp(1, u64::from(WINDOW_SECONDS));
        if let Some(leaving) = usize::try_from(second - 1).ok().and_then(|at| self.0.get_mut(at)) {
            *leaving = leaving.saturating_add(count);
        }
    }

    /// In how many milliseconds how many leave, soonest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        let seconds = (1..).map(|second: u64| second * 1_000);
        seconds.zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// How many have not left yet after so many milliseconds.
    pub fn left_after(&self, millis: u64) -> u32 {
        self.iter().filter(|(at, _)| *at > millis).fold(0, |sum, (_, count)| sum.saturating_add(count))
    }
}

impl From<Leaving> for Vec<(u8, u32)> {
    fn from(leaving: Leaving) -> Self {
        (1..).zip(leaving.0).filter(|(_, count)| *count > 0).collect()
    }
}

/// A second that is not of the window.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("requests leave the window after 1 to {WINDOW_SECONDS} seconds, not after {0}")]
pub struct NotInTheWindow(u8);

impl TryFrom<Vec<(u8, u32)>> for Leaving {
    type Error = NotInTheWindow;

    fn try_from(pairs: Vec<(u8, u32)>) -> Result<Self, NotInTheWindow> {
        let mut leaving = Self::NONE;
        for (second, count) in pairs {
            if second == 0 || second > WINDOW_SECONDS {
                return Err(NotInTheWindow(second));
            }
            leaving.add(u64::from(second) * 1_000, count);
        }
        Ok(leaving)
    }
}

/// A gateway's message about its share of an account's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    /// More than in any message before of this run about this account. One that comes after a later one changes nothing.
    pub seq: u64,
    /// The account's limits, as its view tells them.
    pub limits: RequestLimits,
    /// Of the requests within any 60 seconds.
    pub per_minute: ShareClaim,
    /// Of the requests at once.
    pub at_once: ShareClaim,
    /// When those that are counted leave the window.
    pub leaving: Leaving,
    /// Nothing is admitted before another message is answered: what is counted leaves as told, and nothing comes to it.
    pub rests: bool,
}

/// A gateway's share of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// How much of it the gateway may use.
    pub most: u32,
    /// Others want more: down to this the share shrinks as requests leave the window, or end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fair: Option<u32>,
}

/// A ledger's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareGrant {
    /// The message that this answers.
    pub seq: u64,
    /// Of the requests within any 60 seconds.
    pub per_minute: Share,
    /// Of the requests at once.
    pub at_once: Share,
    /// For how long from the sending of the message, in milliseconds, requests may be admitted on it.
    pub valid_ms: u64,
    /// Where fewer requests a minute were granted than needed: when that many may be there, in milliseconds.
    pub retry_after_ms: u64,
    /// How many requests of the last 60 seconds others are known to have admitted.
    pub elsewhere: u32,
    /// When the last of those leaves the window, in milliseconds.
    pub elsewhere_leaves_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_leave_at_full_seconds_rounded_up() {
        let mut leaving = Leaving::NONE;
        for (in_millis, count) in [(0, 1), (1, 2), (1_000, 4), (1_001, 8), (60_000, 16), (70_000, 32)] {
            leaving.add(in_millis, count);
        }
        assert_eq!(leaving.iter().collect::<Vec<_>>(), [(1_000, 7), (2_000, 8), (60_000, 48)]);
        let check = |millis: u64, left: u32| assert_eq!(leaving.left_after(millis), left, "after {millis} ms");
        check(0, 63);
        check(999, 63);
        check(1_000, 56);
        check(2_000, 48);
        check(59_999, 48);
        check(60_000, 0);
    }

    #[test]
    fn the_seconds_are_pairs_in_json() {
        let mut leaving = Leaving::NONE;
        leaving.add(2_500, 7);
        leaving.add(60_000, 1);
        assert_eq!(serde_json::to_string(&leaving).unwrap(), "[[3,7],[60,1]]");
        assert_eq!(serde_json::from_str::<Leaving>("[[3,7],[60,1]]").unwrap(), leaving);
        for outside in ["[[0,1]]", "[[61,1]]"] {
            let error = serde_json::from_str::<Leaving>(outside).unwrap_err().to_string();
            assert!(error.starts_with("requests leave the window after 1 to 60 seconds"), "{error}");
        }
    }
}
