//! The usage facts of the log's records.

use accounting::rating;
use schemas::event::{Accuracy, Outcome, Usage};
use schemas::{AccountId, Event, EventId, KeyId, Offset, PartitionId, Timestamp, TokenCounts, Usd};

/// One usage event that counts.
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
    /// The upstream that answered.
    pub upstream: String,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// How the request ended.
    pub outcome: Outcome,
    /// Whose count it is.
    pub accuracy: Accuracy,
    /// What was charged for.
    pub tokens: TokenCounts,
    /// The charge; zero or more, within [`Usd::in_range`].
    pub cost: Usd,
    /// When the request was admitted.
    pub started_at: Timestamp,
    /// When it ended: the event's own time. Buckets of statistics go by it.
    pub time: Timestamp,
    /// From admission to the end, in milliseconds; held to what a signed 64-bit integer holds.
    pub duration_ms: u64,
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
    /// The event's fact; none where it is not usage, or usage that the ledger quarantines for what the event itself
    /// says: a cost that is not its tokens at its price, contradicting counts, an amount beyond
    /// [`MAX_USD`](schemas::money::MAX_USD), a text that not every store can keep.
    ///
    /// What the ledger decides by an account's state can't be seen here. Usage of an account that was never opened, or
    /// that would take a balance out of range, is quarantined there and counts here; a gateway admits neither.
    pub fn of(offset: Offset, event: &Event) -> Option<Self> {
        let data = event.data.usage()?;
        if !posts(&data) {
            return None;
        }
        Some(Self {
            offset,
            event_id: event.id,
            account_id: event.subject,
            key_id: data.key_id,
            model: data.model.to_owned(),
            upstream: data.upstream.to_owned(),
            stream: data.stream,
            outcome: data.outcome,
            accuracy: data.accuracy,
            tokens: data.tokens,
            cost: data.cost_usd,
            started_at: data.started_at,
            time: event.time,
            duration_ms: data.duration_ms.min(i64::MAX.cast_unsigned()),
        })
    }
}

fn posts(data: &Usage<'_>) -> bool {
    let rated = rating::cost(&data.tokens, &data.price);
    let keepable = |text: &str| !text.contains('\0');
    rated == Some(data.cost_usd) && data.cost_usd.in_range() && keepable(data.model) && keepable(data.upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../schemas/golden/usage.recorded.v1.json");

    fn fact(text: &str) -> Option<Fact> {
        Fact::of(Offset(7), &Event::decode(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_usage_event_is_a_fact() {
        let fact = fact(GOLDEN).unwrap();
        assert_eq!(fact.offset, Offset(7));
        assert_eq!(fact.event_id.to_string(), "01890a5d-ac96-774b-bcce-b302099a805c");
        assert_eq!(fact.account_id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(fact.key_id.to_string(), "01890a5d-ac96-774b-bcce-b302099a8059");
        assert_eq!((fact.model.as_str(), fact.upstream.as_str(), fact.stream), ("deepseek-v4-flash", "demo", true));
        assert_eq!((fact.outcome, fact.accuracy), (Outcome::Completed, Accuracy::Measured));
        assert_eq!((fact.tokens.prompt, fact.tokens.completion, fact.duration_ms), (10, 10, 500));
        assert_eq!(fact.cost.to_string(), "0.000005");
        assert_eq!(fact.started_at.to_string(), "2026-11-01T00:00:01.000000Z");
        assert_eq!(fact.time.to_string(), "2026-11-01T00:00:01.500000Z");
    }

    #[test]
    fn what_the_ledger_quarantines_is_none() {
        let check = |from: &str, to: &str, counts: bool| {
            assert!(GOLDEN.contains(from), "{from}");
            assert_eq!(fact(&GOLDEN.replacen(from, to, 1)).is_some(), counts, "{from} → {to}");
        };
        check("0.000005", "0.00000500", true);
        check("0.000005", "0.000006", false);
        check(r#""prompt":10,"#, r#""prompt":11,"#, false);
        check(r#""cached_prompt":0,"#, r#""cached_prompt":11,"#, false);
        check(r#""reasoning":0"#, r#""reasoning":11"#, false);
        check(r#""reasoning":0"#, r#""reasoning":10"#, true);
        check("deepseek-v4-flash", r"\u0000", false);
        check("demo", r"de\u0000mo", false);
        let largest = GOLDEN.replace(r#""prompt":10,"#, r#""prompt":1000000,"#);
        let largest = largest.replace(r#""completion":10,"#, r#""completion":0,"#);
        let priced = |price: &str, cost: &str| {
            largest
                .replace(r#""input":"0.2""#, &format!(r#""input":"{price}""#))
                .replace(r#""cost_usd":"0.000005""#, &format!(r#""cost_usd":"{cost}""#))
        };
        assert_eq!(fact(&priced("9000000", "9000000")).unwrap().cost.to_string(), "9000000");
        assert_eq!(fact(&priced("9000000", "8999999")), None);
        assert_eq!(fact(include_str!("../../schemas/golden/key.issued.v1.json")), None);
    }

    #[test]
    fn a_duration_beyond_every_store_is_held_to_the_most_they_keep() {
        let text = GOLDEN.replace(r#""duration_ms":500"#, r#""duration_ms":18446744073709551615"#);
        assert_eq!(fact(&text).unwrap().duration_ms, 9_223_372_036_854_775_807);
    }
}
