//! Answers that are kept for whoever repeats a request under the same `Idempotency-Key`: claimed, held, ended, and deleted
//! within a day.

use std::time::Duration;

use schemas::Timestamp;
use schemas::api::{AnswerEnd, AnswerEnded, ClaimAnswer, Claimed, EndAnswer, HoldAnswer, Refusal};
use tokio::time::sleep;
use tracing::{info, warn};

use super::{Ledger, LedgerError};
use crate::store::ClaimTimes;

/// For how long an answer is kept, from its first claim. With some sweeps that fail it is still gone within 24 hours.
const KEPT_FOR: Duration = Duration::from_mins(24 * 60 - 30);
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Deleted by one statement at most.
const SWEPT_AT_ONCE: u32 = 1_000;

/// For how long a claim may be held at once, in milliseconds.
const HOLD_MS: std::ops::RangeInclusive<u32> = 100..=600_000;

/// The most bytes that the answers of one account take. What is beyond is not kept.
const ROOM_BYTES: u64 = 64 << 20;

impl Ledger {
    /// Claims an answer, or says what there is. Of concurrent claims exactly one wins.
    pub async fn claim_answer(&self, claim: ClaimAnswer) -> Result<Claimed, LedgerError> {
        let now = self.parts.outside.now();
        let held_until = held_until(now, claim.hold_ms)?;
        let expires_at = later(now, KEPT_FOR);
        Ok(self.parts.store.claim_answer(&claim, ClaimTimes { now, held_until, expires_at }).await?)
    }

    /// Holds on to a claim; `false` where somebody else has it.
    pub async fn hold_answer(&self, hold: HoldAnswer) -> Result<bool, LedgerError> {
        let until = held_until(self.parts.outside.now(), hold.hold_ms)?;
        Ok(self.parts.store.hold_answer(hold.answer_id, hold.holder, until).await?)
    }

    /// Ends a claim with what became of its request.
    pub async fn end_answer(&self, end: EndAnswer) -> Result<AnswerEnded, LedgerError> {
        let EndAnswer { answer_id, holder, end } = end;
        let (store, now) = (&self.parts.store, self.parts.outside.now());
        Ok(match end {
            AnswerEnd::Keep(sealed) => store.keep_answer(answer_id, holder, &sealed, ROOM_BYTES).await?,
            AnswerEnd::TooLarge => store.keep_no_answer(answer_id, holder).await?,
            AnswerEnd::Free => store.release_answer(answer_id, holder, true, now).await?,
            AnswerEnd::Unknown => store.release_answer(answer_id, holder, false, now).await?,
        })
    }

    /// Deletes answers whose time is over, and says how many.
    pub async fn sweep_answers(&self) -> Result<u64, LedgerError> {
        let (now, mut swept) = (self.parts.outside.now(), 0);
        loop {
            let some = self.parts.store.sweep_answers(now, SWEPT_AT_ONCE).await?;
            swept += some;
            if some < SWEPT_AT_ONCE.into() {
                return Ok(swept);
            }
        }
    }
}

/// Deletes answers when their time is over. Never ends; it may be dropped at any moment, and several may run at once.
pub async fn sweep_answers(ledger: &Ledger) {
    loop {
        match ledger.sweep_answers().await {
            Ok(0) => {}
            Ok(answers) => info!(answers, "answers kept for repeats are deleted, their time is over"),
            Err(error) => warn!(%error, "answers kept for repeats could not be deleted; trying again"),
        }
        sleep(SWEEP_EVERY).await;
    }
}

fn held_until(now: Timestamp, hold_ms: u32) -> Result<Timestamp, Refusal> {
    if HOLD_MS.contains(&hold_ms) {
        return Ok(later(now, Duration::from_millis(hold_ms.into())));
    }
    let detail = format!("is {hold_ms}; a claim is held for {} to {} ms at once", HOLD_MS.start(), HOLD_MS.end());
    Err(Refusal::Invalid { field: "hold_ms".into(), detail })
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(micros))
}
