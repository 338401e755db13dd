//! Putting charges right.

use std::sync::Arc;

use eventlog::{EventLog, Record};
use schemas::api::{Command, CorrectedTokens, EntryDetail, StatementQuery};
use schemas::event::{Funding, UsageCharge, UsageCorrectedV1};
use schemas::usage::{Price, TokenCounts};
use schemas::{AccountId, Event, EventData, EventId, KeyId, LotId, RequestId};
use uuid::Uuid;

use super::{done, execute, opened, refused};
use crate::Outside as _;
use crate::audit;
use crate::rig::Rig;

fn correct(usage_event_id: EventId, prompt: Option<u64>, completion: Option<u64>, key: Option<&str>) -> Command {
    let tokens = CorrectedTokens { prompt, completion, ..CorrectedTokens::default() };
    Command::CorrectUsage { usage_event_id, tokens, reason: "r".into(), idempotency_key: key.map(str::to_owned) }
}

async fn balance(rig: &Rig, account: AccountId) -> String {
    done(rig.ledger.account(account).await).balance_usd.to_string()
}

#[tokio::test]
async fn a_charge_is_put_right_from_what_it_is_now() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let usage = rig.used(account, 1, 1, 2).await;
    assert_eq!(balance(&rig, account).await, "2");
    let check = async |command: Command, amount: &str, balance: &str| {
        assert_eq!(execute(&rig, account, command).await, (amount.to_owned(), balance.to_owned()));
    };
    check(correct(usage, None, Some(1), Some("a")), "1", "3").await;
    check(correct(usage, None, Some(1), None), "0", "3").await;
    check(correct(usage, Some(0), None, None), "1", "4").await;
    check(correct(usage, None, Some(1), Some("a")), "1", "3").await;
    check(correct(usage, Some(2), Some(2), None), "-3", "1").await;
    let query = StatementQuery { account_id: account, after: None, from: None, to: None, limit: 100 };
    let entries = done(rig.ledger.statement(query).await).entries;
    let corrections = entries.iter().filter(|entry| matches!(entry.detail, EntryDetail::Correction(_)));
    let amounts: Vec<_> = corrections.map(|entry| entry.amount_usd.to_string()).collect();
    assert_eq!(amounts, ["1", "1", "-3"], "each posts once, and what is so already not at all");
}

/// The fold believes a first correction; an audit looks at what was posted.
#[tokio::test]
async fn an_audit_names_a_correction_that_starts_from_another_charge() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let [honest, lied, missing] =
        [rig.used(account, 1, 1, 2).await, rig.used(account, 2, 1, 1).await, EventId(Uuid::nil())];
    execute(&rig, account, correct(honest, None, Some(1), None)).await;
    execute(&rig, account, correct(honest, None, Some(0), None)).await;
    let log: Arc<dyn EventLog> = rig.log.clone();
    let audited = async || {
        let report = audit::audit(&log, Some(rig.store.snapshot().await.unwrap()), None, &mut ()).await.unwrap();
        report.findings.iter().map(|(_, finding)| finding.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(audited().await, [""; 0]);
    for (number, usage) in (10..).zip([lied, missing]) {
        let tokens = TokenCounts { prompt: 1, completion: 2, ..TokenCounts::default() };
        let funding = Funding { plan_tokens: 0, credit_usd: "3".parse().unwrap() };
        let unit = || "1000000".parse().unwrap();
        let data = EventData::UsageCorrected(Box::new(UsageCorrectedV1 {
            usage_event_id: usage,
            request_id: RequestId(usage.0),
            key_id: KeyId(Uuid::nil()),
            model: "m".into(),
            price: Price { input: unit(), cached_input: unit(), output: unit() },
            before: UsageCharge { tokens, funding },
            tokens: TokenCounts::default(),
            lot_id: LotId(Uuid::from_u128(number)),
            priority: 1,
            reason: "r".into(),
        }));
        let id = EventId(Uuid::from_u128(number));
        let event = Event { id, source: "/test".into(), subject: account, time: rig.clock.now(), data };
        rig.log.append(Record { key: account, payload: event.encode().unwrap().into() }).await.unwrap();
    }
    done(rig.ledger.catch_up().await);
    let told = audited().await;
    let starts =
        |usage: EventId| format!("the charge that the first correction of usage {usage} starts from: 1 + 2 tokens");
    assert!(told.len() == 2 && told[0].contains(&starts(lied)) && told[1].contains(&starts(missing)), "{told:#?}");
    assert!(told[0].contains("1 + 1 tokens") && told[1].contains("no such usage"), "{told:#?}");
}

#[tokio::test]
async fn what_can_not_be_put_right_is_refused() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let other = opened(&rig, "bob@example.com").await;
    let usage = rig.used(account, 1, 1, 2).await;
    let unknown = |event: EventId| {
        format!("event: the account has no usage of event {event}; `modelhub admin statement --json` names its events")
    };
    let stranger = EventId(Uuid::from_u128(77));
    assert_eq!(refused(&rig, account, correct(stranger, Some(1), None, None)).await, unknown(stranger));
    assert_eq!(refused(&rig, other, correct(usage, Some(1), None, None)).await, unknown(usage));
    let grant = EventId(account.derive("credit.granted:trial"));
    assert_eq!(refused(&rig, account, correct(grant, Some(1), None, None)).await, unknown(grant));
    let cached = CorrectedTokens { cached_prompt: Some(2), ..CorrectedTokens::default() };
    let command =
        Command::CorrectUsage { usage_event_id: usage, tokens: cached, reason: "r".into(), idempotency_key: None };
    let expected = "tokens: 2 of 1 prompt tokens cached, 0 of 2 completion tokens for reasoning; a part is never more \
                    than its whole, and no count is above 1000000000";
    assert_eq!(refused(&rig, account, command).await, expected);
    execute(&rig, account, correct(usage, Some(0), None, Some("a"))).await;
    let another = refused(&rig, account, correct(usage, Some(1), None, Some("a"))).await;
    assert!(another.starts_with("idempotency_key: was used before for something else"), "{another}");
}
