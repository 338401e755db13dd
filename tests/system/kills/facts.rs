//! The records that the producer writes: what each one says, and its bytes.

use schemas::{AccountId, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

/// USD per 1,000,000 tokens, as events say it; in 10⁻¹² USD a token that is 200,000, 20,000 and 300,000.
const PRICE: [&str; 3] = ["0.2", "0.02", "0.3"];
/// The same for whoever computes.
pub(super) const PICO: [i128; 3] = [200_000, 20_000, 300_000];

/// The plan that everybody buys.
pub(super) const PLAN_CENTS: i128 = 1_500;
/// What it includes: little, so that most periods run out of it.
pub(super) const PLAN_TOKENS: u64 = 4_000;
/// What of it carries over.
pub(super) const PLAN_ROLLOVER: u64 = 1_500;

/// 2090-11-01, when it all begins: no ledger renews by its own clock what the producer renews.
const BEGIN: i64 = 3_813_177_600_000_000;

/// Periods are thirty days, in microseconds.
const MONTH: i64 = 30 * 86_400_000_000;

/// What a record says. Numbers stand for ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Open,
    Key,
    /// 10⁻¹² USD.
    Grant(i64),
    Take(i64),
    Pay {
        cents: i64,
    },
    Refund {
        payment: u64,
        cents: i64,
    },
    /// Prompt tokens, those of them that were cached, completion tokens.
    Use([u64; 3]),
    Start,
    Renew {
        subscription: u64,
        period: i64,
    },
    Cancel {
        subscription: u64,
        period: i64,
    },
    /// A record that is no event.
    Garbage,
}

/// A record, before it is in the log and after.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// The event's number, which its id and everything that it makes are named by.
    pub(super) number: u64,
    pub(super) account: AccountId,
    pub(super) fact: Fact,
    pub(super) payload: Vec<u8>,
}

pub(super) fn account(number: u64) -> AccountId {
    AccountId(id("account", number))
}

/// An id of its own for everything that a record makes.
fn id(kind: &str, number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{kind} {number}").as_bytes())
}

fn time(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

/// `pico` in USD, as events have it.
fn usd(pico: i64) -> Value {
    schemas::Usd::from_pico(pico).to_string().into()
}

fn cents(cents: i64) -> Value {
    usd(cents * 10_000_000_000)
}

/// Periods are counted from the begin.
fn period(number: i64) -> Value {
    json!({"start": time(BEGIN + number * MONTH), "end": time(BEGIN + (number + 1) * MONTH)})
}

fn plan(id: &str, price: &Value, tokens: u64, rollover: u64) -> Value {
    json!({
        "id": id, "price_usd": price, "tokens_per_month": tokens, "rollover_tokens": rollover,
        "requests_per_minute": 10, "max_in_flight": 2, "max_keys": 2, "trial_credit_usd": "5",
    })
}

impl Written {
    pub(super) fn new(number: u64, account: AccountId, fact: Fact) -> Self {
        let payload = match data(number, fact) {
            None => b"{\"garbage\":".to_vec(),
            Some((kind, data)) => {
                let version = if matches!(fact, Fact::Use(_)) && number.is_multiple_of(2) { 2 } else { 1 };
                // A renewal comes when the period that it closes is over.
                let begin = match fact {
                    Fact::Renew { period, .. } => BEGIN + (period + 1) * MONTH,
                    _ => BEGIN,
                };
                let at = begin + i64::try_from(number).expect("a small number") * 1_000;
                let event = json!({
                    "specversion": "1.0", "id": id("event", number), "source": "/tests/kills", "type": kind,
                    "subject": account, "time": time(at), "datacontenttype": "application/json",
                    "dataschema": format!("urn:modelhub:schema:{kind}:v{version}"), "data": data,
                });
                event.to_string().into_bytes()
            }
        };
        Self { number, account, fact, payload }
    }
}

/// The event's type and data.
fn data(number: u64, fact: Fact) -> Option<(&'static str, Value)> {
    let boxed = |id: &str| plan(id, &cents(1_500), PLAN_TOKENS, PLAN_ROLLOVER);
    let free = || plan("free", &"0".into(), 0, 0);
    Some(match fact {
        Fact::Garbage => return None,
        Fact::Open => ("account.opened", json!({"plan": free()})),
        Fact::Key => {
            let hash = id("hash", number).simple().to_string().repeat(2);
            ("key.issued", json!({"key_id": id("key", number), "name": "a key", "hash": hash, "hint": "abcd"}))
        }
        Fact::Grant(pico) => {
            let lot = id("lot", number);
            let priority = number % 3 * 100;
            let grant = json!({
                "lot_id": lot, "source": "promotion", "amount_usd": usd(pico), "priority": priority, "reason": "a gift",
            });
            ("credit.granted", grant)
        }
        Fact::Take(pico) => {
            ("credit.adjusted", json!({"change": {"take": {"amount_usd": usd(pico)}}, "reason": "too much"}))
        }
        Fact::Pay { cents: amount } => {
            let payment = json!({
                "payment_id": id("payment", number), "processor": "stripe", "amount_usd": cents(amount),
                "fee_usd": "0.3", "lot_id": id("lot", number), "priority": 100,
            });
            ("payment.succeeded", payment)
        }
        Fact::Refund { payment, cents: amount } => {
            let refund = json!({
                "payment_id": id("payment", payment), "processor": "stripe", "amount_usd": cents(amount),
                "reason": "asked for",
            });
            ("payment.refunded", refund)
        }
        Fact::Use(counts) => ("usage.recorded", usage(number, counts)),
        Fact::Start => {
            let subscription = json!({
                "subscription_id": id("subscription", number), "plan": boxed("box"), "period": period(0),
                "anchor": {"at": time(BEGIN), "utc_offset_minutes": 0}, "token_lot_id": id("tokens", number),
            });
            ("subscription.started", subscription)
        }
        Fact::Renew { subscription, period: closes } => {
            let renewal = json!({
                "subscription_id": id("subscription", subscription), "closes": period(closes), "plan": boxed("box"),
                "period": period(closes + 1), "token_lot_id": id("tokens", number),
            });
            ("subscription.renewed", renewal)
        }
        Fact::Cancel { subscription, period: closes } => {
            let end = json!({
                "subscription_id": id("subscription", subscription), "closes": period(closes),
                "at": period(closes)["end"], "plan_after": free(), "reason": "asked for",
            });
            ("subscription.canceled", end)
        }
    })
}

fn usage(number: u64, [prompt, cached, completion]: [u64; 3]) -> Value {
    let cost = cost([prompt - cached, cached, completion]);
    let cost = usd(i64::try_from(cost).expect("a small cost"));
    json!({
        "request_id": id("request", number), "key_id": id("key", 0), "model": "deepseek-v4-flash", "upstream": "demo",
        "stream": true, "outcome": "completed", "accuracy": "measured", "policy": 1,
        "tokens": {"prompt": prompt, "cached_prompt": cached, "completion": completion, "reasoning": 0},
        "price": {"input": PRICE[0], "cached_input": PRICE[1], "output": PRICE[2]},
        "cost_usd": cost, "started_at": time(BEGIN), "duration_ms": 500,
    })
}

/// What prompt tokens that were not cached, those that were, and completion tokens cost, in 10⁻¹² USD.
pub(super) fn cost(counts: [u64; 3]) -> i128 {
    counts.iter().zip(PICO).map(|(count, price)| i128::from(*count) * price).sum()
}
