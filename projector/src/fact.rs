//! The usage facts of the log's records.

use schemas::event::{Accuracy, Outcome, Usage, UsageCorrectedV1};
use schemas::{AccountId, Event, EventData, EventId, KeyId, Offset, PartitionId, Timestamp, TokenCounts, Usd};

/// A posted event that counts as usage: a request, or the correction of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its record's place in the partition.
    pub offset: Offset,
    /// The event; counts once, whatever the number of records that hold it.
    pub event_id: EventId,
    /// Whose usage it is.
    pub account_id: AccountId,
    /// The key the request came with.
    pub key_id: KeyId,
    /// The catalogue's model id.
    pub model: String,
    /// What the event says of the request itself; none for a correction, which says what it changes.
    pub request: Option<RequestFact>,
    /// What it adds to the sums.
    pub tokens: TokenChange,
    /// What was charged to credit or left as debt, as the account's statement has it: the list price of what no plan covered;
    /// below zero where a correction gave back.
    pub charged: Usd,
    /// When it happened: the event's own time. Buckets of statistics go by it.
    pub time: Timestamp,
}

/// What a usage event says of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFact {
    /// The upstream that answered.
    pub upstream: String,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// How the request ended.
    pub outcome: Outcome,
    /// Whose count it is.
    pub accuracy: Accuracy,
    /// When the request was admitted.
    pub started_at: Timestamp,
    /// From admission to the end, in milliseconds; held to what a signed 64-bit integer holds.
    pub duration_ms: u64,
}

/// Tokens, or the difference that a correction makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the same counts as in TokenCounts, where each is described")]
pub struct TokenChange {
    pub prompt: i64,
    pub cached_prompt: i64,
    pub completion: i64,
    pub reasoning: i64,
}

/// The facts of consecutive records of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactBatch {
    /// The partition.
    pub partition: PartitionId,
    /// Where the records begin: the store's position before the batch.
    pub from: Offset,
    /// The facts among the records, by offset. Those whose event the store holds already, or that repeat an earlier one
    /// of the batch, will not count again.
    pub facts: Vec<Fact>,
    /// The store's position after the batch.
    pub next: Offset,
}

impl Fact {
    /// The fact of an event that the ledger posted; none where it is no usage. `amount` is what it changed the balance by:
    /// how much of a request a plan covered is decided by the account's state, which only the ledger has.
    pub fn of(offset: Offset, event: &Event, amount: Usd) -> Option<Self> {
        let (key_id, model, request, tokens) = match &event.data {
            EventData::UsageCorrected(data) => (data.key_id, &*data.model, None, TokenChange::corrected(data)),
            data => {
                let usage = data.usage()?;
                (usage.key_id, usage.model, Some(RequestFact::of(&usage)), TokenChange::of(&usage.tokens))
            }
        };
        Some(Self {
            offset,
            event_id: event.id,
            account_id: event.subject,
            key_id,
            model: model.to_owned(),
            request,
            tokens,
            charged: amount.negated(),
            time: event.time,
        })
    }

    /// Requests that it adds: one, or none for a correction.
    pub fn requests(&self) -> u64 {
        u64::from(self.request.is_some())
    }
}

impl RequestFact {
    fn of(usage: &Usage<'_>) -> Self {
        Self {
            upstream: usage.upstream.to_owned(),
            stream: usage.stream,
            outcome: usage.outcome,
            accuracy: usage.accuracy,
            started_at: usage.started_at,
            duration_ms: usage.duration_ms.min(i64::MAX.cast_unsigned()),
        }
    }
}

impl TokenChange {
    fn of(tokens: &TokenCounts) -> Self {
        Self {
            prompt: tokens.prompt.cast_signed(),
            cached_prompt: tokens.cached_prompt.cast_signed(),
            completion: tokens.completion.cast_signed(),
            reasoning: tokens.reasoning.cast_signed(),
        }
    }

    /// What posted is consistent, and no count is beyond [`MAX_TOKENS`](schemas::usage::MAX_TOKENS), so nothing wraps.
    fn corrected(data: &UsageCorrectedV1) -> Self {
        let (before, after) = (Self::of(&data.before.tokens), Self::of(&data.tokens));
        Self {
            prompt: after.prompt.wrapping_sub(before.prompt),
            cached_prompt: after.cached_prompt.wrapping_sub(before.cached_prompt),
            completion: after.completion.wrapping_sub(before.completion),
            reasoning: after.reasoning.wrapping_sub(before.reasoning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: &str = include_str!("../../schemas/golden/usage.recorded.v1.json");
    const CORRECTED: &str = include_str!("../../schemas/golden/usage.corrected.v1.json");

    fn fact(text: &str, amount: &str) -> Option<Fact> {
        Fact::of(Offset(7), &Event::decode(text.as_bytes()).unwrap(), amount.parse().unwrap())
    }

    #[test]
    fn a_usage_event_is_a_fact() {
        let fact = fact(USED, "-0.000005").unwrap();
        assert_eq!(fact.offset, Offset(7));
        assert_eq!(fact.event_id.to_string(), "01890a5d-ac96-774b-bcce-b302099a805c");
        assert_eq!(fact.account_id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(fact.key_id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8059");
        assert_eq!((fact.model.as_str(), fact.requests()), ("deepseek-v4-flash", 1));
        assert_eq!((fact.tokens.prompt, fact.tokens.completion), (10, 10));
        assert_eq!(fact.charged.to_string(), "0.000005");
        assert_eq!(fact.time.to_string(), "2026-11-01T00:00:01.500000Z");
        let request = fact.request.unwrap();
        assert_eq!((request.upstream.as_str(), request.stream, request.duration_ms), ("demo", true, 500));
        assert_eq!((request.outcome, request.accuracy), (Outcome::Completed, Accuracy::Measured));
        assert_eq!(request.started_at.to_string(), "2026-11-01T00:00:01.000000Z");
    }

    /// Whatever the event says of its cost at list price.
    #[test]
    fn what_a_plan_covered_was_not_charged() {
        let charged = |amount| fact(USED, amount).unwrap().charged.to_string();
        assert_eq!((charged("0"), charged("-0.000003")), ("0".to_owned(), "0.000003".to_owned()));
    }

    #[test]
    fn a_correction_is_the_difference_that_it_makes() {
        let Event { data: EventData::UsageCorrected(data), .. } = Event::decode(CORRECTED.as_bytes()).unwrap() else {
            panic!("another golden file");
        };
        let fact = fact(CORRECTED, "0.25").unwrap();
        assert_eq!((fact.requests(), fact.charged.to_string(), fact.key_id), (0, "-0.25".to_owned(), data.key_id));
        let difference = |after: u64, before: u64| i64::try_from(after).unwrap() - i64::try_from(before).unwrap();
        let (before, after) = (data.before.tokens, data.tokens);
        assert_ne!(before, after);
        let expected = TokenChange {
            prompt: difference(after.prompt, before.prompt),
            cached_prompt: difference(after.cached_prompt, before.cached_prompt),
            completion: difference(after.completion, before.completion),
            reasoning: difference(after.reasoning, before.reasoning),
        };
        assert_eq!(fact.tokens, expected);
    }

    #[test]
    fn what_is_no_usage_is_none() {
        assert_eq!(fact(include_str!("../../schemas/golden/key.issued.v1.json"), "0"), None);
    }

    #[test]
    fn a_duration_beyond_every_store_is_held_to_the_most_they_keep() {
        let text = USED.replace(r#""duration_ms":500"#, r#""duration_ms":18446744073709551615"#);
        assert_eq!(fact(&text, "0").unwrap().request.unwrap().duration_ms, 9_223_372_036_854_775_807);
    }
}
