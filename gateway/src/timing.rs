//! When the parts of a request were over: what of its time was the gateway's own. No clock in here.

use std::time::Duration;

use tokio::time::Instant;

/// When the parts of a request were over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// When it was here: its arrival, later by what the client took to send its body.
    begun: Instant,
    /// When the first upstream was asked.
    asked: Option<Instant>,
    /// When a stream's first token was here.
    first_token: Option<Instant>,
    /// When the last upstream had nothing more to say.
    answered: Option<Instant>,
}

impl Timing {
    /// Of a request that was here then.
    pub(crate) fn of(begun: Instant) -> Self {
        Self { begun, asked: None, first_token: None, answered: None }
    }

    pub(crate) fn asked(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    pub(crate) fn first_token(&mut self, now: Instant) {
        self.first_token.get_or_insert(now);
    }

    pub(crate) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// From the request to the first token of a stream.
    pub(crate) fn to_first_token(self) -> Option<Duration> {
        Some(self.first_token? - self.begun)
    }

    /// From the request to now.
    pub(crate) fn whole(&self, now: Instant) -> Duration {
        now - self.begun
    }

    /// What of that the gateway took: until it asked an upstream, and since the upstream was done. Not there where none was
    /// asked.
    pub(crate) fn added(&self, now: Instant) -> Option<Duration> {
        Some((self.asked? - self.begun) + (now - self.answered?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_upstream_takes_is_not_the_gateway_s() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timing = Timing::of(start);
        let check = |timing: &Timing, now, whole: u64, first: Option<u64>, added: Option<u64>| {
            let ms = Duration::from_millis;
            assert_eq!(
                (timing.whole(at(now)), timing.to_first_token(), timing.added(at(now))),
                (ms(whole), first.map(ms), added.map(ms)),
                "{timing:?}"
            );
        };
        check(&timing, 5, 5, None, None);
        timing.asked(at(5));
        check(&timing, 6, 6, None, None);
        timing.asked(at(50));
        timing.first_token(at(100));
        timing.answered(at(500));
        check(&timing, 502, 502, Some(100), Some(7));
    }
}
