use proptest::prelude::*;

use super::*;
use crate::{Timestamp, Usd};

const GOLDEN: &str = include_str!("../../../golden/usage.recorded.v2.json");

fn golden() -> Event {
    Event::decode_by_parts(GOLDEN.as_bytes()).unwrap()
}

fn golden_usage() -> UsageRecordedV2 {
    match golden().data {
        EventData::UsageRecordedV2(usage) => *usage,
        other => panic!("{other:?}"),
    }
}

fn of(usage: UsageRecordedV2) -> Event {
    Event { data: EventData::UsageRecordedV2(Box::new(usage)), ..golden() }
}

#[test]
fn what_this_build_writes_is_read_here() {
    let check = |usage: UsageRecordedV2| {
        let event = of(usage);
        assert_eq!(read(&event.encode().unwrap()), Some(event));
    };
    let usage = golden_usage();
    assert_eq!(read(GOLDEN.trim_end().as_bytes()), Some(golden()));
    check(UsageRecordedV2 { lease_id: None, ..usage.clone() });
    check(UsageRecordedV2 { funding: None, ..usage.clone() });
    check(UsageRecordedV2 { lease_id: None, funding: None, ..usage.clone() });
    check(UsageRecordedV2 { stream: false, model: "日本".into(), upstream: String::new(), ..usage.clone() });
    for outcome in OUTCOMES {
        for accuracy in ACCURACIES {
            check(UsageRecordedV2 { outcome, accuracy, ..usage.clone() });
        }
    }
}

#[test]
fn what_differs_is_left_to_others() {
    let check = |from: &str, to: &str| {
        assert!(GOLDEN.contains(from), "{from}");
        let text = GOLDEN.trim_end().replacen(from, to, 1);
        assert_eq!(read(text.as_bytes()), None, "{from} {to}");
    };
    check("\"1.0\"", "\"1.1\"");
    check("recorded:v2", "recorded:v1");
    check("/modelhub", "\\/modelhub");
    check("\"demo\"", "\"de\u{1}mo\"");
    check("\"prompt\":10", "\"prompt\":010");
    check("\"prompt\":10", "\"prompt\":1e1");
    check("\"prompt\":10", "\"prompt\":-0");
    check("\"prompt\":10", "\"prompt\":1000000000000000000");
    check("\"policy\":1", "\"policy\":4294967296");
    check("\"completed\"", "\"complete\"");
    check("true", "1");
    check("\"0.2\"", "\"0.2000000001\"");
    check("\"source\":", "\"source\": ");
    check("01T00", "01\u{0}00");
    check("01T00", "01\\n00");
    check("}}}", "}}} ");
    check("}}}", "},\"more\":1}}");
    check("}}}", "}}");
}

proptest! {
    /// Whatever it is told to write, and however the texts look, it is read as what it was.
    #[test]
    fn any_usage_is_read_back(
        source in "\\PC{0,20}", model in "\\PC{0,20}|.{0,5}", counts in prop::array::uniform4(any::<u64>()),
        cost in -9_000_000_000_000_000_000_i64..=9_000_000_000_000_000_000, at in -62_167_219_200_000_000_i64..=253_402_300_799_999_999,
        ids in prop::array::uniform4(any::<u128>()), duration_ms: u64, policy: u32, leased: bool, funded: bool,
    ) {
        let [id, subject, key, lease] = ids.map(Uuid::from_u128);
        let [prompt, cached_prompt, completion, reasoning] = counts;
        let credit_usd = Usd::from_pico(cost);
        let usage = UsageRecordedV2 {
            key_id: KeyId(key),
            model,
            policy,
            tokens: TokenCounts { prompt, cached_prompt, completion, reasoning },
            cost_usd: credit_usd,
            started_at: Timestamp::from_micros(at),
            duration_ms,
            lease_id: leased.then_some(LeaseId(lease)),
            funding: funded.then_some(Funding { plan_tokens: prompt, credit_usd }),
            ..golden_usage()
        };
        let event = Event { id: EventId(id), source, subject: AccountId(subject), ..of(usage) };
        let record = event.encode().unwrap();
        if let Some(read) = read(&record) {
            prop_assert_eq!(&read, &event);
        }
        prop_assert_eq!(Event::decode(&record), Ok(event));
    }

    /// What is read here reads the same by parts, whatever is broken about it.
    #[test]
    fn nothing_else_is_read(at in 0..2_000_usize, byte: u8, remove: bool, more: bool) {
        let mut record = GOLDEN.trim_end().as_bytes().to_vec();
        let at = at % record.len();
        match (remove, more) {
            (true, _) => drop(record.remove(at)),
            (false, true) => record.insert(at, byte),
            (false, false) => record[at] = byte,
        }
        if let Some(event) = read(&record) {
            prop_assert_eq!(Event::decode_by_parts(&record), Ok(event));
        }
    }
}
