//! The claim of an answer: waited for, held while the request runs, ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use schemas::api::{AnswerEnd, AnswerEnded, ClaimAnswer, Claimed, EndAnswer, HoldAnswer};
use tokio::time::{Instant, sleep, timeout};

use crate::ports::{Ledger, LedgerError};

/// How often it is looked whether somebody else's answer is there: at first, and at last.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// For how long the end of a claim is tried.
const END_WITHIN: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Times that a claim is held on to before it would end.
const HOLDS: u32 = 3;

/// Claims an answer; waits at most so long where somebody else is making it.
pub(super) async fn claim(ledger: &dyn Ledger, claim: ClaimAnswer, wait: Duration) -> Result<Claimed, LedgerError> {
    let give_up = Instant::now() + wait;
    let mut pause = LOOK_EVERY.0;
    loop {
        let claimed = ledger.claim_answer(claim).await?;
        let left = give_up.saturating_duration_since(Instant::now());
        if claimed != Claimed::Running || left.is_zero() {
            return Ok(claimed);
        }
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(LOOK_EVERY.1);
    }
}

/// A claim that this gateway has.
pub(super) struct Claim {
    ledger: Arc<dyn Ledger>,
    hold: HoldAnswer,
}

impl Claim {
    pub(super) fn new(ledger: Arc<dyn Ledger>, claim: &ClaimAnswer) -> Self {
        let ClaimAnswer { answer_id, holder, hold_ms, .. } = *claim;
        Self { ledger, hold: HoldAnswer { answer_id, holder, hold_ms } }
    }

    /// Holds on to it for as long as `work` takes.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.hold() => match never {},
        }
    }

    async fn hold(&self) -> Infallible {
        let every = Duration::from_millis(self.hold.hold_ms.into()) / HOLDS;
        let mut pause = every;
        loop {
            sleep(pause).await;
            pause = every;
            // One call that gets no answer must not cost the claim.
            match timeout(every / 2, self.ledger.hold_answer(self.hold)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    tracing::warn!(holder = %self.hold.holder, "another request has taken over this one's answer");
                    std::future::pending::<()>().await;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the claim of an answer could not be held on to; trying again");
                    pause = RETRY_EVERY.min(every);
                }
                Err(_) => {
                    tracing::warn!("the claim of an answer could not be held on to in time; trying again");
                    pause = RETRY_EVERY.min(every);
                }
            }
        }
    }

    /// Ends it. Where the ledger can't be told, the claim runs out, and a repeat is recorded as the same request.
    pub(super) async fn end(&self, end: AnswerEnd) {
        let HoldAnswer { answer_id, holder, .. } = self.hold;
        let end = EndAnswer { answer_id, holder, end };
        let give_up = Instant::now() + END_WITHIN;
        loop {
            match self.ledger.end_answer(end.clone()).await {
                Ok(AnswerEnded::Done) => return,
                Ok(AnswerEnded::NoRoom) => {
                    return tracing::info!(%holder, "the account's answers take too much room to keep this one");
                }
                Ok(AnswerEnded::Lost) => {
                    return tracing::warn!(%holder, "another request has taken over this one's answer");
                }
                Err(error) if Instant::now() < give_up => {
                    tracing::warn!(%error, "an answer could not be kept; trying again");
                    sleep(RETRY_EVERY).await;
                }
                Err(error) => return tracing::warn!(%error, "an answer is not kept for a repeat"),
            }
        }
    }
}
