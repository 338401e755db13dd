//! Records, briefly.

use schemas::catalogue::PlanTerms;
use schemas::event::{
    AccountOpenedV1, Accuracy, BillingAnchor, CreditAdjustedV1, CreditChange, CreditGrantedV1, CreditSource, Funding,
    KeyHash, KeyIssuedV1, KeyRevokedV1, OUTCOME_POLICY, Outcome, Period, SubscriptionStartedV1, UsageRecordedV1,
    UsageRecordedV2,
};
use schemas::usage::{Price, TokenCounts};
use schemas::{AccountId, Event, EventData, EventId, KeyId, LeaseId, LotId, RequestId, SubscriptionId, Timestamp, Usd};
use uuid::Uuid;

/// Event ids of one test: `id` counts them.
pub(super) fn event_id(id: u128) -> EventId {
    EventId(Uuid::from_u128(0xe << 64 | id))
}

pub(super) fn record(account: AccountId, id: u128, data: EventData) -> Vec<u8> {
    let time = Timestamp::from_micros(1_700_000_000_000_001 + i64::try_from(id % 1_000_000).unwrap());
    Event { id: event_id(id), source: "/test".into(), subject: account, time, data }.encode().unwrap()
}

pub(super) fn plan() -> PlanTerms {
    PlanTerms {
        id: "free \"ü\"".into(),
        price_usd: "0.000000000001".parse().unwrap(),
        tokens_per_month: u64::MAX,
        rollover_tokens: 1,
        requests_per_minute: u32::MAX,
        max_in_flight: 2,
        max_keys: Some(2),
        trial_credit_usd: "5".parse().unwrap(),
    }
}

pub(super) fn open(account: AccountId, id: u128) -> Vec<u8> {
    record(account, id, EventData::AccountOpened(AccountOpenedV1 { plan: plan() }))
}

pub(super) fn key_hash(hash: u8) -> KeyHash {
    KeyHash([hash; 32])
}

pub(super) fn key_id(key: u128) -> KeyId {
    KeyId(Uuid::from_u128(0xabc << 64 | key))
}

pub(super) fn key(account: AccountId, id: u128, key: u128, hash: u8) -> Vec<u8> {
    let (key_id, hash) = (key_id(key), key_hash(hash));
    let data = KeyIssuedV1 { key_id, name: "laptop's \"k\\ey\" ✓".into(), hash, hint: "ab1Z".into() };
    record(account, id, EventData::KeyIssued(data))
}

pub(super) fn revoke(account: AccountId, id: u128, key: u128) -> Vec<u8> {
    record(account, id, EventData::KeyRevoked(KeyRevokedV1 { key_id: key_id(key), reason: "lost".into() }))
}

pub(super) fn lot_id(lot: u128) -> LotId {
    LotId(Uuid::from_u128(0x107 << 64 | lot))
}

pub(super) fn grant(account: AccountId, id: u128, lot: u128, amount: Usd, priority: u8) -> Vec<u8> {
    let data = CreditGrantedV1 {
        lot_id: lot_id(lot),
        source: if lot.is_multiple_of(2) { CreditSource::Trial } else { CreditSource::Promotion },
        amount_usd: amount,
        priority,
        reason: "it's \"free\" \\ ✓\n".into(),
    };
    record(account, id, EventData::CreditGranted(data))
}

/// `completion` tokens at `price` USD per 1,000,000.
pub(super) fn usage(account: AccountId, id: u128, completion: u64, price: &str) -> Vec<u8> {
    let price =
        Price { input: "0".parse().unwrap(), cached_input: "0".parse().unwrap(), output: price.parse().unwrap() };
    let tokens = TokenCounts { prompt: 7, cached_prompt: 3, completion, reasoning: completion / 2 };
    let data = UsageRecordedV1 {
        request_id: RequestId(Uuid::from_u128(id)),
        key_id: key_id(1),
        model: "deepseek-v4-flash".into(),
        upstream: "demo".into(),
        stream: true,
        outcome: Outcome::Completed,
        accuracy: Accuracy::Measured,
        policy: OUTCOME_POLICY,
        tokens,
        price,
        cost_usd: accounting::rating::cost(&tokens, &price).unwrap(),
        started_at: Timestamp::from_micros(1),
        duration_ms: 1,
    };
    record(account, id, EventData::UsageRecorded(Box::new(data)))
}

/// Takes credit back; what is not there any more becomes debt.
pub(super) fn take(account: AccountId, id: u128, amount_usd: Usd) -> Vec<u8> {
    let change = CreditChange::Take { lot_id: None, amount_usd };
    record(account, id, EventData::CreditAdjusted(CreditAdjustedV1 { change, reason: "a mistake".into() }))
}

/// A month's plan tokens, for nothing.
pub(super) fn subscribed(account: AccountId, id: u128, plan_tokens: u64) -> Vec<u8> {
    let (start, end) = (Timestamp::from_micros(1_700_000_000_000_000), Timestamp::from_micros(1_702_592_000_000_000));
    let plan = PlanTerms { price_usd: Usd::ZERO, tokens_per_month: plan_tokens, rollover_tokens: 0, ..plan() };
    let data = SubscriptionStartedV1 {
        subscription_id: SubscriptionId(Uuid::from_u128(id)),
        plan,
        period: Period { start, end },
        anchor: BillingAnchor { at: start, utc_offset_minutes: 0 },
        token_lot_id: lot_id(0x700 << 32 | id),
        payment_id: None,
    };
    record(account, id, EventData::SubscriptionStarted(Box::new(data)))
}

/// A request on a lease, at 1 USD a million tokens: the plan covers `plan_tokens` of the prompt, credit the completion.
pub(super) fn leased(account: AccountId, id: u128, lease: LeaseId, plan_tokens: u64, completion: u64) -> Vec<u8> {
    let credit_usd = Usd::from_pico(i64::try_from(completion).unwrap() * 1_000_000);
    funded(account, id, lease, [plan_tokens, completion], Funding { plan_tokens, credit_usd })
}

/// The same with any funding for `[prompt, completion]` tokens.
pub(super) fn funded(account: AccountId, id: u128, lease: LeaseId, tokens: [u64; 2], funding: Funding) -> Vec<u8> {
    let price = "1".parse().unwrap();
    let price = Price { input: price, cached_input: price, output: price };
    let tokens = TokenCounts { prompt: tokens[0], cached_prompt: 0, completion: tokens[1], reasoning: 0 };
    let data = UsageRecordedV2 {
        request_id: RequestId(Uuid::from_u128(id)),
        key_id: key_id(1),
        model: "deepseek-v4-flash".into(),
        upstream: "demo".into(),
        stream: true,
        outcome: Outcome::Completed,
        accuracy: Accuracy::Measured,
        policy: OUTCOME_POLICY,
        tokens,
        price,
        cost_usd: accounting::rating::cost(&tokens, &price).unwrap(),
        started_at: Timestamp::from_micros(1),
        duration_ms: 1,
        lease_id: Some(lease),
        funding: Some(funding),
    };
    record(account, id, EventData::UsageRecordedV2(Box::new(data)))
}

pub(super) fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}
