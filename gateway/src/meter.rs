//! One terminal usage event per admitted request (I10), durable before the last byte of the answer.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use eventlog::Record;
use schemas::catalogue::Catalogue;
use schemas::event::{Accuracy, Funding, OUTCOME_POLICY, Outcome, UsageRecordedV2};
use schemas::usage::Price;
use schemas::{AccountId, Event, EventData, EventId, KeyId, LeaseId, RequestId, Timestamp, TokenCounts, Usd};
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use crate::accounts::{Hold, Running};
use crate::context::Context;
use crate::key_limits::KeyHold;
use crate::metrics::{Ended, InFlight, Metrics};
use crate::request_log::{self, End};
use crate::timing::Timing;
use crate::usage_log::{Recording, Refused, Room};

/// The largest usage event without its names: ids, times, counts and amounts with all their digits.
const EVENT_BYTES: usize = 1_536;
/// What a character of a name takes at most: an escape of JSON.
const ESCAPED_BYTES: usize = 6;

/// The status of an answer that is withheld.
const NOT_DURABLE: u16 = 503;

/// Writes usage events.
pub(crate) struct Recorder {
    recording: Recording,
    /// The events' `source`: this gateway.
    source: String,
    context: Context,
    /// What an event takes at most.
    room_bytes: usize,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// `source` is what events name as theirs.
    pub(crate) fn new(
        recording: Recording,
        source: String,
        catalogue: &Catalogue,
        context: Context,
        metrics: Arc<Metrics>,
    ) -> Self {
        let names = catalogue
            .models
            .values()
            .flat_map(|model| model.routes().map(|(upstream, _)| model.id.len() + upstream.len()));
        let names = names.max();
        let room_bytes = room_bytes(source.len() + names.unwrap_or_default());
        Self { recording, source, context, room_bytes, metrics }
    }

    /// Makes sure that the event of a request can be recorded, however it ends.
    pub(crate) async fn reserve(&self) -> Result<Room, Refused> {
        self.recording.reserve(self.room_bytes).await
    }
}

/// The most that an event takes whose names have this many bytes.
fn room_bytes(names: usize) -> usize {
    EVENT_BYTES + names * ESCAPED_BYTES
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
    /// The most that may be charged: what the hold is for.
    pub(crate) held: TokenCounts,
}

/// How a request ended, and what of it is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) accuracy: Accuracy,
    pub(crate) tokens: TokenCounts,
}

impl Admitted {
    /// Overspend is impossible, whatever ends a request: nothing above the hold is charged. Whoever decides on an ending has
    /// seen to it already, so this changes nothing but where that has a fault.
    fn within_the_hold(&self, ending: Ending) -> Ending {
        let tokens = ending.tokens.within(&self.held);
        if tokens == ending.tokens {
            return ending;
        }
        let (wanted, held) = (ending.tokens, self.held);
        tracing::error!(request_id = %self.request_id, ?wanted, ?held, "a charge above its hold was cut to it");
        Ending { tokens, outcome: Outcome::Cut, ..ending }
    }
}

impl Ending {
    /// Nothing is charged.
    pub(crate) fn free(outcome: Outcome) -> Self {
        Self { outcome, accuracy: Accuracy::Estimated, tokens: TokenCounts::default() }
    }

    /// What its event is once it is durable. An answer is one however little it took.
    fn recorded(&self) -> Recorded {
        let free = self.outcome != Outcome::Completed && self.tokens == TokenCounts::default();
        if free { Recorded::Free } else { Recorded::Charged }
    }
}

/// What became of a request's event, for whoever decides what a repeat of the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// It charges nothing.
    Free,
    /// It charges what was used.
    Charged,
    /// It may have become durable or not.
    Unknown,
}

/// Where a meter tells it; empty for a request that was not admitted.
pub(crate) type Told = Arc<OnceLock<Recorded>>;

/// The event could not be made durable, so the answer must not end as if it were.
#[derive(Debug, Error)]
#[error("the usage event could not be made durable")]
pub(crate) struct NotDurable;

/// The meter of one admitted request. It holds the request's money, room for its event and its place among the running
/// ones until it is finished, which is before the last byte of the answer: the client's next request finds all of them
/// free.
pub(crate) struct Meter {
    recorder: Arc<Recorder>,
    admitted: Admitted,
    hold: Hold,
    room: Room,
    _running: Running,
    told: Option<Told>,
    key_hold: Option<KeyHold>,
    started_at: Timestamp,
    started: Instant,
    timing: Timing,
    /// The status of its answer, and whether that is out before the end.
    status: u16,
    head_is_out: bool,
    _in_flight: InFlight,
}

impl Meter {
    pub(crate) fn start(recorder: Arc<Recorder>, admitted: Admitted, hold: Hold, room: Room, running: Running) -> Self {
        let (started_at, started) = (recorder.context.now(), Instant::now());
        Self {
            _in_flight: recorder.metrics.runs(),
            recorder,
            admitted,
            hold,
            room,
            _running: running,
            told: None,
            key_hold: None,
            started_at,
            started,
            timing: Timing::of(started),
            status: 200,
            head_is_out: false,
        }
    }

    /// Tells also `told` what becomes of the event.
    pub(crate) fn telling(self, told: Option<Told>) -> Self {
        Self { told, ..self }
    }

    /// Settles also what is held of the key's limits.
    pub(crate) fn limited_by(self, key_hold: Option<KeyHold>) -> Self {
        Self { key_hold, ..self }
    }

    /// Counts its time from then on, when it was here.
    pub(crate) fn since(self, begun: Instant) -> Self {
        Self { timing: Timing::of(begun), ..self }
    }

    /// When its parts were over.
    pub(crate) fn timing(&mut self) -> &mut Timing {
        &mut self.timing
    }

    /// The status of its answer, where that is not 200.
    pub(crate) fn answered_with(&mut self, status: u16) {
        self.status = status;
    }

    /// The head of its answer is out, whatever becomes of its event.
    pub(crate) fn head_is_out(&mut self) {
        self.head_is_out = true;
    }

    pub(crate) fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// Which upstream answers.
    pub(crate) fn answered_by(&mut self, upstream: &str) {
        upstream.clone_into(&mut self.admitted.upstream);
    }

    /// The most that may be charged.
    pub(crate) fn held(&self) -> TokenCounts {
        self.admitted.held
    }

    /// Records the request's one terminal event and settles its hold. Returns what credit is charged when the event is
    /// durable: the list price of the tokens that the plan does not cover.
    pub(crate) async fn finish(mut self, ending: Ending) -> Result<Usd, NotDurable> {
        let ending = self.admitted.within_the_hold(ending);
        let told = self.told.take();
        let shared = told.is_some();
        let id = event_id(self.admitted.request_id, shared, ending.recorded(), || self.recorder.context.new_id());
        let finished = self.record(id, ending).await;
        if let Some(told) = told {
            let recorded = if finished.is_err() { Recorded::Unknown } else { ending.recorded() };
            let _ = told.set(recorded);
        }
        finished
    }

    async fn record(mut self, id: EventId, ending: Ending) -> Result<Usd, NotDurable> {
        let cost = cost(&ending.tokens, &self.admitted.price, self.hold.funds().plan_tokens);
        let event = self.event(id, ending, cost);
        let payload = match event.encode() {
            Ok(payload) => Bytes::from(payload),
            Err(error) => {
                tracing::error!(%error, request_id = %self.admitted.request_id, "a usage event has no JSON form");
                return Err(NotDurable);
            }
        };
        let record = Record { key: event.subject, payload };
        let key_charge = self.key_hold.take().map(|hold| hold.charge(cost.list_usd));
        self.hold.charge(cost.funding);
        let recorded = self.recorder.recording.append(self.room, record.clone()).await;
        let (now, credit_usd) = (Instant::now(), cost.funding.credit_usd);
        let end = End {
            admitted: &self.admitted,
            account: record.key,
            status: if recorded.is_ok() || self.head_is_out { self.status } else { NOT_DURABLE },
            ending,
            list_usd: cost.list_usd,
            credit_usd,
            recorded: recorded.is_ok(),
            timing: self.timing,
        };
        request_log::ended(&end, now);
        match recorded {
            Ok(()) => {
                let (model, stream) = (self.admitted.model.as_str(), self.admitted.stream);
                let ended = Ended { model, stream, ending, list_usd: cost.list_usd, credit_usd };
                self.recorder.metrics.ended(&ended, &self.timing, now);
                Ok(credit_usd)
            }
            Err(error) => {
                self.recorder.metrics.not_durable();
                if let Some(charge) = key_charge {
                    charge.take_back();
                }
                // The whole event, so that nothing is lost with it: it holds neither secrets nor content.
                let event = String::from_utf8_lossy(&record.payload);
                tracing::error!(error, request_id = %self.admitted.request_id, %event, "a usage event was not recorded");
                Err(NotDurable)
            }
        }
    }

    fn event(&self, id: EventId, ending: Ending, cost: Cost) -> Event {
        let recorder = &self.recorder;
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let times = Times { started_at: self.started_at, now: recorder.context.now(), duration_ms: elapsed };
        let (subject, lease) = (self.hold.account_id(), self.hold.lease_id());
        event(&self.admitted, id, &recorder.source, (subject, lease), ending, cost, times)
    }
}

/// The id of a request's terminal event: always the same, so that a charge posts once. Where the request came with an
/// Idempotency-Key its id is `shared` with whoever goes on with it, so an ending that charges nothing has an id of its own:
/// a charge that comes after it must not pass for its repeat.
fn event_id(request: RequestId, shared: bool, recorded: Recorded, fresh: impl FnOnce() -> Uuid) -> EventId {
    match recorded {
        Recorded::Free if shared => EventId(fresh()),
        _ => EventId(request.derive("usage.recorded")),
    }
}

/// What a request costs, and what covers that.
#[derive(Clone, Copy)]
struct Cost {
    /// All tokens at list price.
    list_usd: Usd,
    funding: Funding,
}

/// Of the tokens, up to `plan_tokens` are the plan's, as the ledger will decide, too.
fn cost(tokens: &TokenCounts, price: &Price, plan_tokens: u64) -> Cost {
    let plan_tokens = plan_tokens.min(tokens.total());
    let credit_usd = accounting::rating::overage(tokens, price, plan_tokens).unwrap_or_default();
    let list_usd = accounting::rating::cost(tokens, price).unwrap_or_default();
    Cost { list_usd, funding: Funding { plan_tokens, credit_usd } }
}

/// When a request was admitted, and when it ended.
#[derive(Clone, Copy)]
struct Times {
    started_at: Timestamp,
    now: Timestamp,
    duration_ms: u64,
}

fn event(
    admitted: &Admitted,
    id: EventId,
    source: &str,
    (subject, lease_id): (AccountId, LeaseId),
    ending: Ending,
    cost: Cost,
    times: Times,
) -> Event {
    Event {
        id,
        source: source.to_owned(),
        subject,
        time: times.now,
        data: EventData::UsageRecordedV2(Box::new(UsageRecordedV2 {
            request_id: admitted.request_id,
            key_id: admitted.key_id,
            model: admitted.model.clone(),
            upstream: admitted.upstream.clone(),
            stream: admitted.stream,
            outcome: ending.outcome,
            accuracy: ending.accuracy,
            policy: OUTCOME_POLICY,
            tokens: ending.tokens,
            price: admitted.price,
            cost_usd: cost.list_usd,
            started_at: times.started_at,
            duration_ms: times.duration_ms,
            lease_id: Some(lease_id),
            funding: Some(cost.funding),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_charged_above_the_hold() {
        let tokens =
            |prompt, cached_prompt, completion, reasoning| TokenCounts { prompt, cached_prompt, completion, reasoning };
        let price = |digits: &str| digits.parse().unwrap();
        let admitted = Admitted {
            request_id: RequestId(Uuid::nil()),
            key_id: KeyId(Uuid::nil()),
            model: "m".to_owned(),
            price: Price { input: price("1"), cached_input: price("1"), output: price("2") },
            upstream: "u".to_owned(),
            stream: false,
            held: tokens(10, 0, 5, 0),
        };
        let most = accounting::rating::cost(&admitted.held, &admitted.price).unwrap();
        let check = |tokens: TokenCounts, outcome: Outcome| {
            let ending = Ending { outcome: Outcome::Completed, accuracy: Accuracy::Measured, tokens };
            let ending = admitted.within_the_hold(ending);
            assert_eq!(ending.outcome, outcome, "{tokens:?}");
            assert!(accounting::rating::cost(&ending.tokens, &admitted.price).unwrap() <= most, "{tokens:?}");
        };
        check(tokens(10, 10, 5, 5), Outcome::Completed);
        check(tokens(11, 0, 0, 0), Outcome::Cut);
        check(tokens(0, 0, 6, 0), Outcome::Cut);
        check(tokens(u64::MAX, u64::MAX, u64::MAX, u64::MAX), Outcome::Cut);
    }

    #[test]
    fn a_free_ending_leaves_the_id_of_a_shared_request_to_its_charge() {
        let (request, fresh) = (RequestId(Uuid::from_u128(1)), Uuid::from_u128(2));
        let charge = EventId(request.derive("usage.recorded"));
        let check = |shared, recorded, expected| {
            assert_eq!(event_id(request, shared, recorded, || fresh), expected, "{shared} {recorded:?}");
        };
        check(true, Recorded::Free, EventId(fresh));
        for recorded in [Recorded::Charged, Recorded::Unknown] {
            check(true, recorded, charge);
            check(false, recorded, charge);
        }
        check(false, Recorded::Free, charge);
    }

    #[test]
    fn the_largest_event_fits_its_room() {
        let check = |names: &str| {
            let price = |digits: &str| digits.parse().unwrap();
            let (input, cached_input, output) =
                (price("8999999.999999"), price("8999999.999999"), price("8999999.999999"));
            let admitted = Admitted {
                request_id: RequestId(Uuid::max()),
                key_id: KeyId(Uuid::max()),
                model: names.to_owned(),
                price: Price { input, cached_input, output },
                upstream: names.to_owned(),
                stream: false,
                held: TokenCounts::default(),
            };
            let most = u64::MAX;
            let tokens = TokenCounts { prompt: most, cached_prompt: most, completion: most, reasoning: most };
            let ending = Ending { outcome: Outcome::UpstreamFailed, accuracy: Accuracy::Estimated, tokens };
            let late = Timestamp::from_micros(i64::MAX / 2_000);
            let times = Times { started_at: late, now: late, duration_ms: most };
            let usd = "-8999999.999999999999".parse().unwrap();
            let cost = Cost { list_usd: usd, funding: Funding { plan_tokens: most, credit_usd: usd } };
            let ids = (AccountId(Uuid::max()), LeaseId(Uuid::max()));
            let event = event(&admitted, EventId(Uuid::max()), names, ids, ending, cost, times).encode().unwrap();
            let room = room_bytes(3 * names.len());
            assert!(event.len() <= room, "{} bytes in a room of {room}", event.len());
        };
        check("");
        check("deepseek-v4-flash");
        check(&"\u{1}".repeat(100));
        check(&"\u{fffd}\"\\".repeat(100));
    }
}
