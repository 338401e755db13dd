//! One terminal usage event per admitted request (I10), durable before the last byte of the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventlog::{AppendError, EventLog, Record};
use schemas::event::{Accuracy, OUTCOME_POLICY, Outcome, UsageRecordedV1};
use schemas::usage::Price;
use schemas::{Event, EventData, EventId, KeyId, Position, RequestId, Timestamp, TokenCounts, Usd};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::accounts::{Hold, Running};
use crate::context::Context;

/// How long a usage event is tried to be made durable before the answer fails.
const RECORD_WITHIN: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Writes usage events.
pub(crate) struct Recorder {
    pub(crate) log: Arc<dyn EventLog>,
    /// The events' `source`: this gateway.
    pub(crate) source: String,
    pub(crate) context: Context,
}

/// What is known of a request when it is admitted.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) request_id: RequestId,
    pub(crate) key_id: KeyId,
    pub(crate) model: String,
    pub(crate) price: Price,
    pub(crate) upstream: String,
    pub(crate) stream: bool,
}

/// How a request ended, and what of it is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) accuracy: Accuracy,
    pub(crate) tokens: TokenCounts,
}

impl Ending {
    /// Nothing is charged.
    pub(crate) fn free(outcome: Outcome) -> Self {
        Self { outcome, accuracy: Accuracy::Estimated, tokens: TokenCounts::default() }
    }
}

/// The event could not be made durable, so the answer must not end as if it were.
#[derive(Debug, Error)]
#[error("the usage event could not be made durable")]
pub(crate) struct NotDurable;

/// The meter of one admitted request. It holds the request's money and its place among the running ones until it is
/// finished, which is before the last byte of the answer: the client's next request finds both free.
pub(crate) struct Meter {
    recorder: Arc<Recorder>,
    admitted: Admitted,
    hold: Hold,
    _running: Running,
    started_at: Timestamp,
    started: Instant,
}

impl Meter {
    pub(crate) fn start(recorder: Arc<Recorder>, admitted: Admitted, hold: Hold, running: Running) -> Self {
        let started_at = recorder.context.now();
        Self { recorder, admitted, hold, _running: running, started_at, started: Instant::now() }
    }

    pub(crate) fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// Records the request's one terminal event and settles its hold. Returns the cost when the event is durable.
    pub(crate) async fn finish(self, ending: Ending) -> Result<Usd, NotDurable> {
        let cost = accounting::rating::cost(&ending.tokens, &self.admitted.price).unwrap_or_default();
        let event = self.event(ending, cost);
        let payload = match event.encode() {
            Ok(payload) => Bytes::from(payload),
            Err(error) => {
                tracing::error!(%error, request_id = %self.admitted.request_id, "a usage event has no JSON form");
                return Err(NotDurable);
            }
        };
        let record = Record { key: event.subject, payload };
        match self.append(record).await {
            Ok(position) => {
                self.hold.settle(position, cost);
                Ok(cost)
            }
            Err(error) => {
                // The whole event, so that nothing is lost with it: it holds neither secrets nor content.
                let event = String::from_utf8_lossy(&event.encode().unwrap_or_default()).into_owned();
                tracing::error!(%error, request_id = %self.admitted.request_id, event, "a usage event was not recorded");
                Err(NotDurable)
            }
        }
    }

    fn event(&self, ending: Ending, cost_usd: Usd) -> Event {
        let admitted = self.admitted.clone();
        let elapsed = self.started.elapsed().as_millis();
        Event {
            id: EventId(admitted.request_id.derive("usage.recorded")),
            source: self.recorder.source.clone(),
            subject: self.hold.account_id(),
            time: self.recorder.context.now(),
            data: EventData::UsageRecorded(Box::new(UsageRecordedV1 {
                request_id: admitted.request_id,
                key_id: admitted.key_id,
                model: admitted.model,
                upstream: admitted.upstream,
                stream: admitted.stream,
                outcome: ending.outcome,
                accuracy: ending.accuracy,
                policy: OUTCOME_POLICY,
                tokens: ending.tokens,
                price: admitted.price,
                cost_usd,
                started_at: self.started_at,
                duration_ms: u64::try_from(elapsed).unwrap_or(u64::MAX),
            })),
        }
    }

    /// An append that was not confirmed may have happened: the same event again is the same event, so trying again is
    /// safe.
    async fn append(&self, record: Record) -> Result<Position, AppendError> {
        let give_up = Instant::now() + RECORD_WITHIN;
        loop {
            match self.recorder.log.append(record.clone()).await {
                Err(AppendError::Unavailable(detail)) if Instant::now() < give_up => {
                    tracing::warn!(detail, request_id = %self.admitted.request_id, "the event log did not confirm; trying again");
                    sleep(RETRY_EVERY).await;
                }
                result => return result,
            }
        }
    }
}
