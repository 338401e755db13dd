//! Answers that are kept for a repeat.

use schemas::api::{AnswerEnded, ClaimAnswer, Claimed, Sealed};
use schemas::{AnswerId, RequestId, Timestamp};
use sqlx::{query, query_as};

use super::SqliteStore;
use crate::store::StoreError;
use crate::store::answers::{
    AnswerRow, AnswerStore, ClaimTimes, DELETE_EXPIRED, FIND, FORGET, Found, HOLD, INSERT, KEEP, KEEP_NO_ANSWER,
    ROUNDS, SWEEP, TAKE_OVER, answer_store, ended, failed, restless,
};

answer_store!(SqliteStore, writer);
