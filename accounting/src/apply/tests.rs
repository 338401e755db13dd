//! Every outcome of every event type, by table.

use schemas::catalogue::PlanTerms;
use schemas::event::{Accuracy, CreditSource, KeyHash, OUTCOME_POLICY, Outcome as Ending};
use schemas::usage::{Price, TokenCounts};
use schemas::{EventId, KeyId, LotId, RequestId, Timestamp};
use uuid::Uuid;

use super::*;

const ACCOUNT: u128 = 1;

fn event(id: u128, data: EventData) -> Event {
    Event {
        id: EventId(Uuid::from_u128(id)),
        source: "/test".into(),
        subject: schemas::AccountId(Uuid::from_u128(ACCOUNT)),
        time: Timestamp::from_micros(1),
        data,
    }
}

fn open() -> EventData {
    let plan = PlanTerms {
        id: "free".into(),
        price_usd: Usd::ZERO,
        tokens_per_month: 0,
        rollover_tokens: 0,
        requests_per_minute: 10,
        max_in_flight: 2,
        max_keys: Some(2),
        trial_credit_usd: "5".parse().unwrap(),
    };
    EventData::AccountOpened(AccountOpenedV1 { plan })
}

fn key(id: u128) -> EventData {
    let key_id = KeyId(Uuid::from_u128(id));
    EventData::KeyIssued(KeyIssuedV1 { key_id, name: "k".into(), hash: KeyHash([7; 32]), hint: "abcd".into() })
}

fn grant(lot: u128, amount: &str, priority: u8) -> EventData {
    EventData::CreditGranted(CreditGrantedV1 {
        lot_id: LotId(Uuid::from_u128(lot)),
        source: CreditSource::Promotion,
        amount_usd: amount.parse().unwrap(),
        priority,
        reason: "r".into(),
    })
}

/// One output token costs one dollar, so costs read as token counts.
fn usage(completion: u64, cost: &str) -> EventData {
    let price = |text: &str| text.parse().unwrap();
    EventData::UsageRecorded(Box::new(UsageRecordedV1 {
        request_id: RequestId(Uuid::from_u128(9)),
        key_id: KeyId(Uuid::from_u128(9)),
        model: "m".into(),
        upstream: "u".into(),
        stream: false,
        outcome: Ending::Completed,
        accuracy: Accuracy::Measured,
        policy: OUTCOME_POLICY,
        tokens: TokenCounts { completion, ..TokenCounts::default() },
        price: Price { input: price("0"), cached_input: price("0"), output: price("1000000") },
        cost_usd: cost.parse().unwrap(),
        started_at: Timestamp::from_micros(1),
        duration_ms: 1,
    }))
}

fn account_after(history: &[EventData]) -> Option<AccountState> {
    let mut account = None;
    for (index, data) in history.iter().enumerate() {
        let outcome = apply(&mut account, &event(100 + index as u128, data.clone()), Offset(index as u64));
        assert!(matches!(outcome, Outcome::Applied(_)), "{data:?}: {outcome:?}");
    }
    account
}

#[test]
fn what_is_posted() {
    let check =
        |history: &[EventData], last: EventData, transfers: &[&str], amount: &str, balance: &str, debt: &str| {
            let mut account = account_after(history);
            let Outcome::Applied(posting) = apply(&mut account, &event(1, last), Offset(99)) else {
                panic!("not applied");
            };
            let account = account.unwrap();
            let short =
                |account: &LedgerAccount| account.to_string().replace(&format!(":{}", Uuid::from_u128(ACCOUNT)), "");
            let shown: Vec<_> = posting
                .transfers
                .iter()
                .map(|t| format!("{} > {} {} {}", short(&t.credit), short(&t.debit), t.amount, t.code.as_str()))
                .collect();
            assert_eq!(shown, transfers);
            assert_eq!((posting.amount.to_string(), posting.balance.to_string()), (amount.into(), balance.into()));
            assert_eq!((account.balance().unwrap(), account.debt.to_string()), (posting.balance, debt.into()));
            assert_eq!(account.version, Offset(99));
        };
    check(&[], open(), &[], "0", "0", "0");
    check(&[open()], key(1), &[], "0", "0", "0");
    check(&[open()], grant(1, "5", 1), &["liability:customer-credit > expense:promotion 5 grant"], "5", "5", "0");
    check(
        &[open(), grant(1, "5", 1)],
        usage(2, "2"),
        &["revenue:usage:m > liability:customer-credit 2 usage"],
        "-2",
        "3",
        "0",
    );
    check(&[open(), grant(1, "5", 1)], usage(0, "0"), &[], "0", "5", "0");
    check(
        &[open(), grant(1, "5", 2), grant(2, "1", 1), grant(3, "1", 2)],
        usage(7, "7"),
        &[
            "revenue:usage:m > liability:customer-credit 1 usage",
            "revenue:usage:m > liability:customer-credit 5 usage",
            "revenue:usage:m > liability:customer-credit 1 usage",
        ],
        "-7",
        "0",
        "0",
    );
    check(
        &[open(), grant(1, "5", 1)],
        usage(7, "7"),
        &[
            "revenue:usage:m > liability:customer-credit 5 usage",
            "revenue:usage:m > asset:customer-debt 2 usage_on_debt",
        ],
        "-7",
        "-2",
        "2",
    );
    check(
        &[open(), usage(2, "2")],
        grant(1, "5", 1),
        &[
            "liability:customer-credit > expense:promotion 5 grant",
            "asset:customer-debt > liability:customer-credit 2 debt_settled",
        ],
        "5",
        "3",
        "0",
    );
    check(
        &[open(), usage(7, "7")],
        grant(1, "5", 1),
        &[
            "liability:customer-credit > expense:promotion 5 grant",
            "asset:customer-debt > liability:customer-credit 5 debt_settled",
        ],
        "5",
        "-2",
        "2",
    );
}

#[test]
fn what_is_quarantined_changes_nothing() {
    let check = |history: &[EventData], last: EventData, code: &str| {
        let before = account_after(history);
        let mut account = before.clone();
        let Outcome::Quarantined(reason) = apply(&mut account, &event(1, last), Offset(99)) else {
            panic!("not quarantined: {code}");
        };
        assert_eq!((reason.code(), &account), (code, &before), "{reason}");
    };
    check(&[], key(1), "unknown_account");
    check(&[], grant(1, "5", 1), "unknown_account");
    check(&[], usage(1, "1"), "unknown_account");
    check(&[open()], open(), "already_open");
    check(&[open(), key(1)], key(1), "key_exists");
    check(&[open(), grant(1, "5", 1)], grant(1, "5", 1), "lot_exists");
    check(&[open()], grant(1, "0", 1), "amount_not_positive");
    check(&[open()], grant(1, "-1", 1), "amount_not_positive");
    check(&[open(), grant(1, "9000000", 1)], grant(2, "0.000000000001", 1), "out_of_range");
    check(&[open(), usage(9_000_000, "9000000")], usage(1, "1"), "out_of_range");
    check(&[open()], usage(9_000_001, "9000000"), "cost_mismatch");
    check(&[open(), grant(1, "5", 1)], usage(2, "2.000000000001"), "cost_mismatch");
    check(&[open()], usage(1_000_000_001, "0"), "inconsistent_tokens");
    let nul = |mut data: EventData| {
        match &mut data {
            EventData::AccountOpened(data) => data.plan.id.push('\0'),
            EventData::KeyIssued(data) => data.name.insert(0, '\0'),
            EventData::CreditGranted(data) => data.reason = "\0".into(),
            EventData::UsageRecorded(data) => data.model.push('\0'),
        }
        data
    };
    check(&[], nul(open()), "nul_character");
    check(&[open()], nul(key(1)), "nul_character");
    check(&[open()], nul(grant(1, "5", 1)), "nul_character");
    check(&[open()], nul(usage(1, "1")), "nul_character");
    let mut subset = usage(1, "1");
    if let EventData::UsageRecorded(data) = &mut subset {
        data.tokens.reasoning = 2;
    }
    check(&[open()], subset, "inconsistent_tokens");
    let mut huge = usage(9_000_001, "9000000");
    if let EventData::UsageRecorded(data) = &mut huge {
        data.cost_usd = "9000000".parse::<Usd>().unwrap().checked_add("1".parse().unwrap()).unwrap();
    }
    check(&[open()], huge, "out_of_range");
}
