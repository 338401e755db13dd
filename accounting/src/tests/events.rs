//! Events, briefly. Numbers stand for ids: each kind of id has a range of its own.

use schemas::catalogue::PlanTerms;
use schemas::event::{
    AccountClosedV1, AccountOpenedV1, AccountReinstatedV1, AccountSuspendedV1, Accuracy, BillingAnchor,
    CreditAdjustedV1, CreditChange, CreditGrantedV1, CreditGrantedV2, CreditSource, DisputeOutcome, Funding,
    InvoiceIssuedV1, KeyHash, KeyIssuedV1, KeyRevokedV1, KeyUpdatedV1, OUTCOME_POLICY, Outcome as Ending,
    PaymentDisputeClosedV1, PaymentDisputedV1, PaymentFailedV1, PaymentRefundedV1, PaymentSucceededV1, Period,
    PlanSwitch, SubscriptionCanceledV1, SubscriptionChange, SubscriptionChangedV1, SubscriptionPastDueV1,
    SubscriptionRenewedV1, SubscriptionStartedV1, UnusedCredit, UsageCharge, UsageCorrectedV1, UsageRecordedV1,
    UsageRecordedV2,
};
use schemas::usage::{Price, TokenCounts};
use schemas::{
    AccountId, DisputeId, Event, EventData, EventId, KeyId, LotId, Offset, PartitionId, PaymentId, RequestId,
    SubscriptionId, Timestamp, Usd,
};
use uuid::Uuid;

use crate::rating;

pub(super) const PRIORITY: u8 = 100;

pub(super) fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

pub(super) fn micros(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// The operator's own account.
pub(super) const OPERATOR: u32 = 100;

pub(super) fn account_id(account: u32) -> AccountId {
    if account == OPERATOR {
        return AccountId::OPERATOR;
    }
    AccountId(Uuid::from_u128(0xacc << 64 | u128::from(account)))
}

pub(super) fn event_id(id: u32) -> EventId {
    EventId(Uuid::from_u128(0xe << 64 | u128::from(id)))
}

pub(super) fn key_id(key: u32) -> KeyId {
    KeyId(Uuid::from_u128(0xce << 64 | u128::from(key)))
}

pub(super) fn lot_id(lot: u32) -> LotId {
    LotId(Uuid::from_u128(0x107 << 64 | u128::from(lot)))
}

pub(super) fn payment_id(payment: u32) -> PaymentId {
    PaymentId(Uuid::from_u128(0xba << 64 | u128::from(payment)))
}

pub(super) fn dispute_id(dispute: u32) -> DisputeId {
    DisputeId(Uuid::from_u128(0xd1 << 64 | u128::from(dispute)))
}

pub(super) fn subscription_id(subscription: u32) -> SubscriptionId {
    SubscriptionId(Uuid::from_u128(0x5b << 64 | u128::from(subscription)))
}

/// An event of account 1.
pub(super) fn event(id: u32, time: Timestamp, data: EventData) -> Event {
    event_of(1, id, time, data)
}

pub(super) fn event_of(account: u32, id: u32, time: Timestamp, data: EventData) -> Event {
    Event { id: event_id(id), source: "/test".into(), subject: account_id(account), time, data }
}

pub(super) fn plan(id: &str, price: &str, tokens_per_month: u64, rollover_tokens: u64) -> PlanTerms {
    PlanTerms {
        id: id.into(),
        price_usd: usd(price),
        tokens_per_month,
        rollover_tokens,
        requests_per_minute: 10,
        max_in_flight: 2,
        max_keys: Some(2),
        trial_credit_usd: usd("5"),
    }
}

pub(super) fn free() -> PlanTerms {
    plan("free", "0", 0, 0)
}

pub(super) fn open() -> EventData {
    EventData::AccountOpened(AccountOpenedV1 { plan: free() })
}

pub(super) fn suspend() -> EventData {
    EventData::AccountSuspended(AccountSuspendedV1 { reason: "r".into() })
}

pub(super) fn reinstate() -> EventData {
    EventData::AccountReinstated(AccountReinstatedV1 { reason: "r".into() })
}

pub(super) fn close() -> EventData {
    EventData::AccountClosed(AccountClosedV1 { reason: "r".into() })
}

pub(super) fn key(key: u32) -> EventData {
    let data = KeyIssuedV1 { key_id: key_id(key), name: "k".into(), hash: KeyHash([7; 32]), hint: "abcd".into() };
    EventData::KeyIssued(data)
}

pub(super) fn rename_key(key: u32, name: &str) -> EventData {
    EventData::KeyUpdated(KeyUpdatedV1 { key_id: key_id(key), name: name.into() })
}

pub(super) fn revoke_key(key: u32) -> EventData {
    EventData::KeyRevoked(KeyRevokedV1 { key_id: key_id(key), reason: "r".into() })
}

pub(super) fn grant(lot: u32, amount: Usd, priority: u8) -> EventData {
    EventData::CreditGranted(CreditGrantedV1 {
        lot_id: lot_id(lot),
        source: CreditSource::Promotion,
        amount_usd: amount,
        priority,
        reason: "r".into(),
    })
}

pub(super) fn grant_until(lot: u32, amount: Usd, priority: u8, expires_at: Option<Timestamp>) -> EventData {
    EventData::CreditGrantedV2(CreditGrantedV2 {
        lot_id: lot_id(lot),
        source: CreditSource::Promotion,
        amount_usd: amount,
        priority,
        expires_at,
        reason: "r".into(),
    })
}

fn adjust(change: CreditChange) -> EventData {
    EventData::CreditAdjusted(CreditAdjustedV1 { change, reason: "r".into() })
}

pub(super) fn give(lot: u32, amount_usd: Usd) -> EventData {
    adjust(CreditChange::Give { lot_id: lot_id(lot), amount_usd, priority: PRIORITY })
}

pub(super) fn take(lot: Option<u32>, amount_usd: Usd) -> EventData {
    adjust(CreditChange::Take { lot_id: lot.map(lot_id), amount_usd })
}

pub(super) fn expire(lot: u32) -> EventData {
    adjust(CreditChange::Expire { lot_id: lot_id(lot) })
}

/// Three, one and two cents for a prompt token, a cached one and a completion token.
pub(super) fn cents_price() -> Price {
    Price { input: "30000".parse().unwrap(), cached_input: "10000".parse().unwrap(), output: "20000".parse().unwrap() }
}

/// One dollar a completion token.
pub(super) fn dollar_price() -> Price {
    Price { input: "0".parse().unwrap(), cached_input: "0".parse().unwrap(), output: "1000000".parse().unwrap() }
}

pub(super) fn tokens(prompt: u64, cached_prompt: u64, completion: u64) -> TokenCounts {
    TokenCounts { prompt, cached_prompt, completion, reasoning: 0 }
}

pub(super) fn usage_at(price: Price, tokens: TokenCounts, cost_usd: Usd) -> EventData {
    EventData::UsageRecorded(Box::new(UsageRecordedV1 {
        request_id: RequestId(Uuid::from_u128(9)),
        key_id: key_id(1),
        model: "m".into(),
        upstream: "u".into(),
        stream: false,
        outcome: Ending::Completed,
        accuracy: Accuracy::Measured,
        policy: OUTCOME_POLICY,
        tokens,
        price,
        cost_usd,
        started_at: micros(1),
        duration_ms: 1,
    }))
}

/// So many completion tokens, at one dollar each.
pub(super) fn usage(completion: u64) -> EventData {
    let tokens = tokens(0, 0, completion);
    usage_at(dollar_price(), tokens, rating::cost(&tokens, &dollar_price()).unwrap())
}

/// The same usage, admitted on a lease.
pub(super) fn on_lease(usage: EventData) -> EventData {
    let EventData::UsageRecordedV2(mut data) = usage else { panic!("{usage:?}") };
    data.lease_id = Some(schemas::LeaseId(Uuid::from_u128(8)));
    EventData::UsageRecordedV2(data)
}

/// The same in the newer version of the event.
pub(super) fn usage_v2(price: Price, tokens: TokenCounts) -> EventData {
    EventData::UsageRecordedV2(Box::new(UsageRecordedV2 {
        request_id: RequestId(Uuid::from_u128(9)),
        key_id: key_id(1),
        model: "m".into(),
        upstream: "u".into(),
        stream: true,
        outcome: Ending::Cut,
        accuracy: Accuracy::Estimated,
        policy: OUTCOME_POLICY,
        tokens,
        price,
        cost_usd: rating::cost(&tokens, &price).unwrap(),
        started_at: micros(1),
        duration_ms: 1,
        lease_id: None,
        funding: Some(Funding { plan_tokens: 1, credit_usd: usd("9") }),
    }))
}

pub(super) fn charge(tokens: TokenCounts, plan_tokens: u64, credit_usd: Usd) -> UsageCharge {
    UsageCharge { tokens, funding: Funding { plan_tokens, credit_usd } }
}

pub(super) fn correct(usage: u32, price: Price, before: UsageCharge, tokens: TokenCounts, lot: u32) -> EventData {
    EventData::UsageCorrected(Box::new(UsageCorrectedV1 {
        usage_event_id: event_id(usage),
        request_id: RequestId(Uuid::from_u128(9)),
        key_id: key_id(1),
        model: "m".into(),
        price,
        before,
        tokens,
        lot_id: lot_id(lot),
        priority: PRIORITY,
        reason: "r".into(),
    }))
}

pub(super) fn pay(payment: u32, lot: u32, amount_usd: Usd, fee_usd: Option<Usd>) -> EventData {
    EventData::PaymentSucceeded(PaymentSucceededV1 {
        payment_id: payment_id(payment),
        processor: "p".into(),
        amount_usd,
        fee_usd,
        lot_id: lot_id(lot),
        priority: PRIORITY,
    })
}

pub(super) fn fail(payment: u32, amount_usd: Usd) -> EventData {
    EventData::PaymentFailed(PaymentFailedV1 {
        payment_id: payment_id(payment),
        processor: "p".into(),
        amount_usd,
        reason: "r".into(),
    })
}

pub(super) fn refund(payment: u32, processor: &str, amount_usd: Usd) -> EventData {
    EventData::PaymentRefunded(PaymentRefundedV1 {
        payment_id: payment_id(payment),
        processor: processor.into(),
        amount_usd,
        fee_usd: None,
        reason: "r".into(),
    })
}

pub(super) fn dispute(dispute: u32, payment: u32, amount_usd: Usd, suspend: bool) -> EventData {
    EventData::PaymentDisputed(PaymentDisputedV1 {
        dispute_id: dispute_id(dispute),
        payment_id: payment_id(payment),
        processor: "p".into(),
        amount_usd,
        fee_usd: None,
        suspend,
        reason: "r".into(),
    })
}

pub(super) fn decide(dispute: u32, payment: u32, won: bool, reinstate: bool) -> EventData {
    EventData::PaymentDisputeClosed(PaymentDisputeClosedV1 {
        dispute_id: dispute_id(dispute),
        payment_id: payment_id(payment),
        outcome: if won { DisputeOutcome::Won } else { DisputeOutcome::Lost },
        reinstate,
    })
}

pub(super) fn period(start: i64, end: i64) -> Period {
    Period { start: micros(start), end: micros(end) }
}

pub(super) fn anchor(at: Timestamp) -> BillingAnchor {
    BillingAnchor { at, utc_offset_minutes: 0 }
}

/// Subscription 1 begins.
pub(super) fn start(plan: PlanTerms, period: Period, lot: u32, payment: Option<u32>) -> EventData {
    EventData::SubscriptionStarted(Box::new(SubscriptionStartedV1 {
        subscription_id: subscription_id(1),
        plan,
        period,
        anchor: anchor(period.start),
        token_lot_id: lot_id(lot),
        payment_id: payment.map(payment_id),
    }))
}

pub(super) fn renew(closes: Period, plan: PlanTerms, period: Period, lot: u32, payment: Option<u32>) -> EventData {
    EventData::SubscriptionRenewed(Box::new(SubscriptionRenewedV1 {
        subscription_id: subscription_id(1),
        closes,
        plan,
        period,
        token_lot_id: lot_id(lot),
        payment_id: payment.map(payment_id),
    }))
}

pub(super) fn change(change: SubscriptionChange) -> EventData {
    let data = SubscriptionChangedV1 { subscription_id: subscription_id(1), change };
    EventData::SubscriptionChanged(Box::new(data))
}

/// The price of what it closes comes back into lot `back`.
pub(super) fn unused(price_usd: Usd, back: u32) -> UnusedCredit {
    UnusedCredit { price_usd, lot_id: lot_id(back), priority: PRIORITY }
}

pub(super) fn switch(closes: Period, unused: UnusedCredit, plan: PlanTerms, period: Period, lot: u32) -> PlanSwitch {
    let token_lot_id = lot_id(lot);
    PlanSwitch { closes, unused, plan, period, anchor: anchor(period.start), token_lot_id, payment_id: None }
}

pub(super) fn change_at_once(switch: PlanSwitch) -> EventData {
    change(SubscriptionChange::AtOnce(Box::new(switch)))
}

pub(super) fn past_due(period: Period, grace_until: Timestamp) -> EventData {
    EventData::SubscriptionPastDue(SubscriptionPastDueV1 {
        subscription_id: subscription_id(1),
        period,
        due_usd: usd("10"),
        grace_until,
    })
}

pub(super) fn cancel(closes: Period, at: Timestamp, unused: Option<UnusedCredit>) -> EventData {
    EventData::SubscriptionCanceled(Box::new(SubscriptionCanceledV1 {
        subscription_id: subscription_id(1),
        closes,
        at,
        unused,
        plan_after: free(),
        reason: "r".into(),
    }))
}

pub(super) fn invoice(account: u32, month: &str, after: Option<u64>, through: u64) -> InvoiceIssuedV1 {
    InvoiceIssuedV1 {
        account_id: account_id(account),
        month: month.parse().unwrap(),
        partition: PartitionId(0),
        after: after.map(Offset),
        through: Offset(through),
    }
}

/// The operator issues it, under the id that it has to have.
pub(super) fn issue(data: InvoiceIssuedV1, time: Timestamp) -> Event {
    let (subject, data_id) = (AccountId::OPERATOR, data.event_id());
    Event { id: data_id, source: "/test".into(), subject, time, data: EventData::InvoiceIssued(data) }
}
