//! What the ledger asks of its database about answers that are kept for a repeat. The statements are the same for both
//! adapters. Each changes at most one answer, and only from the state that it names, so none needs a transaction.

use async_trait::async_trait;
use schemas::api::{AnswerEnded, ClaimAnswer, Claimed, Sealed};
use schemas::{AnswerId, RequestId, Timestamp};
use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;

/// When a claim and its answer end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimTimes {
    /// The time of day.
    pub now: Timestamp,
    /// From when on somebody else may claim it.
    pub held_until: Timestamp,
    /// From when on it is as if it had never been claimed. Holding on to a claim does not move it.
    pub expires_at: Timestamp,
}

/// Answers that are kept. Nothing of it is a projection.
#[async_trait]
pub trait AnswerStore {
    /// Claims an answer where nobody else holds it, it is not there, and the body is the same; says what it is otherwise.
    /// Of concurrent claims exactly one wins. Repeated by its holder, a claim is the same claim.
    async fn claim_answer(&self, claim: &ClaimAnswer, times: ClaimTimes) -> Result<Claimed, StoreError>;

    /// Moves the end of a claim; `false` where `holder` does not hold it any more.
    async fn hold_answer(&self, answer: AnswerId, holder: RequestId, until: Timestamp) -> Result<bool, StoreError>;

    /// Keeps an answer, where those of its account take at most `room` bytes with it; otherwise notes that it is not kept.
    async fn keep_answer(
        &self,
        answer: AnswerId,
        holder: RequestId,
        sealed: &Sealed,
        room: u64,
    ) -> Result<AnswerEnded, StoreError>;

    /// Notes that the request was charged and its answer is not kept.
    async fn keep_no_answer(&self, answer: AnswerId, holder: RequestId) -> Result<AnswerEnded, StoreError>;

    /// Lets go of a claim at `now`. One that was the first of its request is forgotten where `forget` says so; any other
    /// stays with its request's id.
    async fn release_answer(
        &self,
        answer: AnswerId,
        holder: RequestId,
        forget: bool,
        now: Timestamp,
    ) -> Result<AnswerEnded, StoreError>;

    /// Deletes at most `limit` answers whose time is over at `now`, and says how many.
    async fn sweep_answers(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

pub(super) const INSERT: &str = "\
    INSERT INTO answers (answer_id, account_id, fingerprint, request_id, holder, held_until, expires_at)
    VALUES ($1, $2, $3, $4, $4, $5, $6) ON CONFLICT DO NOTHING";

pub(super) const FIND: &str = "\
    SELECT fingerprint, request_id, holder, held_until, sealed, expires_at FROM answers WHERE answer_id = $1";

pub(super) const DELETE_EXPIRED: &str = "DELETE FROM answers WHERE answer_id = $1 AND expires_at <= $2";

pub(super) const TAKE_OVER: &str = "\
    UPDATE answers SET holder = $2, held_until = $3
    WHERE answer_id = $1 AND holder = $4 AND held_until IS NOT NULL AND held_until <= $5";

pub(super) const HOLD: &str = "\
    UPDATE answers SET held_until = $3 WHERE answer_id = $1 AND holder = $2 AND held_until IS NOT NULL";

pub(super) const KEEP: &str = "\
    UPDATE answers SET held_until = NULL, sealed = $3, sealed_bytes = $4
    WHERE answer_id = $1 AND holder = $2 AND held_until IS NOT NULL AND $4 + (
        SELECT coalesce(sum(kept.sealed_bytes), 0) FROM answers kept WHERE kept.account_id = answers.account_id) <= $5";

pub(super) const KEEP_NO_ANSWER: &str = "\
    UPDATE answers SET held_until = NULL WHERE answer_id = $1 AND holder = $2 AND held_until IS NOT NULL";

pub(super) const FORGET: &str = "\
    DELETE FROM answers WHERE answer_id = $1 AND holder = $2 AND request_id = $2 AND held_until IS NOT NULL";

pub(super) const SWEEP: &str = "\
    DELETE FROM answers WHERE answer_id IN (
        SELECT answer_id FROM answers WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";

/// How often a claim is tried that others keep changing.
pub(super) const ROUNDS: usize = 8;

/// A row of `answers`.
#[derive(FromRow)]
pub(super) struct AnswerRow {
    fingerprint: Uuid,
    request_id: Uuid,
    pub(super) holder: Uuid,
    held_until: Option<i64>,
    sealed: Option<Vec<u8>>,
    expires_at: i64,
}

/// What a row means to whoever claims it.
pub(super) enum Found {
    /// That is what it is.
    Known(Claimed),
    /// Its time is over.
    Expired,
    /// Nobody holds it any more, and it is not there.
    Deserted {
        /// Under which id its request is recorded.
        request_id: RequestId,
    },
}

impl AnswerRow {
    pub(super) fn read(self, claim: &ClaimAnswer, now: Timestamp) -> Found {
        let request_id = RequestId(self.request_id);
        if self.expires_at <= now.as_micros() {
            return Found::Expired;
        }
        if self.fingerprint != claim.fingerprint {
            return Found::Known(Claimed::OtherBody);
        }
        match (self.held_until, self.sealed) {
            (None, Some(sealed)) => {
                Found::Known(Claimed::Kept { request_id, holder: RequestId(self.holder), sealed: Sealed(sealed) })
            }
            (None, None) => Found::Known(Claimed::NotKept { request_id }),
            (Some(_), _) if self.holder == claim.holder.0 => Found::Known(Claimed::Yours { request_id }),
            (Some(until), _) if until > now.as_micros() => Found::Known(Claimed::Running),
            (Some(_), _) => Found::Deserted { request_id },
        }
    }
}

pub(super) fn ended(rows: u64) -> AnswerEnded {
    if rows == 0 { AnswerEnded::Lost } else { AnswerEnded::Done }
}

pub(super) fn failed(error: sqlx::Error) -> StoreError {
    StoreError::unavailable("keep an answer", error)
}

pub(super) fn restless() -> StoreError {
    StoreError::unavailable("keep an answer", "others keep claiming it at the same time; try again")
}

/// [`AnswerStore`] on a pool of either database; only the pool differs.
macro_rules! answer_store {
    ($store:ty, $pool:ident) => {
        #[async_trait::async_trait]
        impl AnswerStore for $store {
            async fn claim_answer(&self, claim: &ClaimAnswer, times: ClaimTimes) -> Result<Claimed, StoreError> {
                let ClaimTimes { now, held_until, expires_at } = times;
                for _ in 0..ROUNDS {
                    let insert = query(INSERT)
                        .bind(claim.answer_id.0)
                        .bind(claim.account_id.0)
                        .bind(claim.fingerprint)
                        .bind(claim.holder.0)
                        .bind(held_until.as_micros())
                        .bind(expires_at.as_micros());
                    if insert.execute(&self.$pool).await.map_err(failed)?.rows_affected() > 0 {
                        return Ok(Claimed::Yours { request_id: claim.holder });
                    }
                    let find = query_as(FIND).bind(claim.answer_id.0);
                    let row: Option<AnswerRow> = find.fetch_optional(&self.$pool).await.map_err(failed)?;
                    let Some(row) = row else { continue };
                    let holder = row.holder;
                    match row.read(claim, now) {
                        Found::Known(claimed) => return Ok(claimed),
                        Found::Expired => {
                            let delete = query(DELETE_EXPIRED).bind(claim.answer_id.0).bind(now.as_micros());
                            delete.execute(&self.$pool).await.map_err(failed)?;
                        }
                        Found::Deserted { request_id } => {
                            let take_over = query(TAKE_OVER)
                                .bind(claim.answer_id.0)
                                .bind(claim.holder.0)
                                .bind(held_until.as_micros())
                                .bind(holder)
                                .bind(now.as_micros());
                            if take_over.execute(&self.$pool).await.map_err(failed)?.rows_affected() > 0 {
                                return Ok(Claimed::Yours { request_id });
                            }
                        }
                    }
                }
                Err(restless())
            }

            async fn hold_answer(
                &self,
                answer: AnswerId,
                holder: RequestId,
                until: Timestamp,
            ) -> Result<bool, StoreError> {
                let hold = query(HOLD).bind(answer.0).bind(holder.0).bind(until.as_micros());
                Ok(hold.execute(&self.$pool).await.map_err(failed)?.rows_affected() > 0)
            }

            async fn keep_answer(
                &self,
                answer: AnswerId,
                holder: RequestId,
                sealed: &Sealed,
                room: u64,
            ) -> Result<AnswerEnded, StoreError> {
                let bytes = i64::try_from(sealed.0.len()).unwrap_or(i64::MAX);
                let keep = query(KEEP)
                    .bind(answer.0)
                    .bind(holder.0)
                    .bind(&sealed.0)
                    .bind(bytes)
                    .bind(i64::try_from(room).unwrap_or(i64::MAX));
                if keep.execute(&self.$pool).await.map_err(failed)?.rows_affected() > 0 {
                    return Ok(AnswerEnded::Done);
                }
                match self.keep_no_answer(answer, holder).await? {
                    AnswerEnded::Done => Ok(AnswerEnded::NoRoom),
                    lost => Ok(lost),
                }
            }

            async fn keep_no_answer(&self, answer: AnswerId, holder: RequestId) -> Result<AnswerEnded, StoreError> {
                let keep = query(KEEP_NO_ANSWER).bind(answer.0).bind(holder.0);
                Ok(ended(keep.execute(&self.$pool).await.map_err(failed)?.rows_affected()))
            }

            async fn release_answer(
                &self,
                answer: AnswerId,
                holder: RequestId,
                forget: bool,
                now: Timestamp,
            ) -> Result<AnswerEnded, StoreError> {
                if forget {
                    let forget = query(FORGET).bind(answer.0).bind(holder.0);
                    if forget.execute(&self.$pool).await.map_err(failed)?.rows_affected() > 0 {
                        return Ok(AnswerEnded::Done);
                    }
                }
                let release = query(HOLD).bind(answer.0).bind(holder.0).bind(now.as_micros());
                Ok(ended(release.execute(&self.$pool).await.map_err(failed)?.rows_affected()))
            }

            async fn sweep_answers(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
                let sweep = query(SWEEP).bind(now.as_micros()).bind(i64::from(limit));
                Ok(sweep.execute(&self.$pool).await.map_err(failed)?.rows_affected())
            }
        }
    };
}

pub(super) use answer_store;
