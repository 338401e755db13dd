//! Holds, charges in flight and views, against exact amounts.

use std::collections::BTreeSet;

use proptest::prelude::*;
use schemas::api::AccountStatus;
use schemas::catalogue::PlanTerms;
use schemas::event::{Accuracy, KeyLimits, Outcome, UsageRecordedV1};
use schemas::usage::Price;
use schemas::{EventData, EventId, Offset, PartitionId, RequestId, Timestamp, TokenCounts};
use uuid::Uuid;

use super::*;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn view(balance: &str, offset: u64) -> AccountView {
    AccountView {
        account_id: AccountId(Uuid::from_u128(1)),
        status: AccountStatus::Active,
        plan: PlanTerms {
            id: "free".into(),
            price_usd: Usd::ZERO,
            tokens_per_month: 0,
            rollover_tokens: 0,
            requests_per_minute: 10,
            max_in_flight: 2,
            max_keys: None,
            trial_credit_usd: Usd::ZERO,
        },
        balance_usd: usd(balance),
        plan_tokens: 0,
        paid: false,
        subscription: None,
        version: at(offset),
    }
}

fn at(offset: u64) -> Position {
    Position { partition: PartitionId(0), offset: Offset(offset) }
}

fn hold(account: &Arc<Account>, amount: &str) -> Result<Hold, Usd> {
    account.hold(|_| Some((usd(amount), ()))).map(|(hold, ())| hold)
}

fn available(account: &Arc<Account>) -> String {
    account.hold::<()>(|_| None).unwrap_err().to_string()
}

fn new(view: AccountView) -> Arc<Account> {
    Arc::new(Account::new(view, 100, Charges::default()))
}

/// A usage event of the account that charges `cost`.
fn used(cost: &str) -> Record {
    let price = Price { input: "0".parse().unwrap(), cached_input: "0".parse().unwrap(), output: "0".parse().unwrap() };
    let usage = UsageRecordedV1 {
        request_id: RequestId(Uuid::nil()),
        key_id: KeyId(Uuid::nil()),
        model: "m".into(),
        upstream: "u".into(),
        stream: false,
        outcome: Outcome::Completed,
        accuracy: Accuracy::Measured,
        policy: 1,
        tokens: TokenCounts::default(),
        price,
        cost_usd: usd(cost),
        started_at: Timestamp::from_micros(0),
        duration_ms: 0,
    };
    let key = AccountId(Uuid::from_u128(1));
    let time = Timestamp::from_micros(0);
    let data = EventData::UsageRecorded(Box::new(usage));
    let event = Event { id: EventId(Uuid::nil()), source: "/t".into(), subject: key, time, data };
    Record { key, payload: event.encode().unwrap().into() }
}

/// What a key's lookup with this view leads to.
fn remember(known: &mut Known, view: AccountView) -> Arc<Account> {
    let view = KeyView {
        key_id: KeyId(Uuid::nil()),
        hash: KeyHash([0; 32]),
        limits: KeyLimits::default(),
        used: None,
        account: view,
    };
    known.remember(view, 100, Instant::now()).account
}

#[test]
fn a_hold_is_never_more_than_what_is_available() {
    let account = new(view("1", 5));
    let first = hold(&account, "0.7").unwrap();
    assert_eq!(hold(&account, "0.300000000001").unwrap_err(), usd("0.3"));
    let second = hold(&account, "0.3").unwrap();
    assert_eq!(available(&account), "0");
    drop(first);
    assert_eq!(available(&account), "0.7");
    drop(second);
    assert_eq!(available(&account), "1");
}

#[test]
fn a_debt_is_not_available() {
    let account = new(view("-0.5", 5));
    assert_eq!(available(&account), "-0.5");
    assert!(hold(&account, "0").is_err());
}

#[test]
fn a_charge_counts_once_however_late_or_early_place_and_view_come() {
    let mut known = Known::default();
    let account = remember(&mut known, view("1", 5));
    hold(&account, "0.5").unwrap().charge(usd("0.2"));
    assert_eq!(available(&account), "0.8");
    // It waits in the spool, and a view from before it comes.
    remember(&mut known, view("1", 6));
    assert_eq!(available(&account), "0.8");
    known.drained(&used("0.2"), at(7));
    assert_eq!(available(&account), "0.8");
    remember(&mut known, view("1", 6));
    assert_eq!(available(&account), "0.8");
    remember(&mut known, view("0.8", 7));
    assert_eq!(available(&account), "0.8");
    // The ledger applies the charge before its place is known here: for a moment it counts twice, never too little.
    hold(&account, "0.5").unwrap().charge(usd("0.1"));
    remember(&mut known, view("0.7", 9));
    assert_eq!(available(&account), "0.6");
    known.drained(&used("0.1"), at(9));
    assert_eq!(available(&account), "0.7");
    // An older view never replaces a newer one.
    remember(&mut known, view("1", 6));
    assert_eq!(available(&account), "0.7");
}

#[test]
fn a_charge_that_was_not_recorded_is_taken_back() {
    let account = new(view("1", 5));
    let hold = hold(&account, "0.5").unwrap();
    let charge = hold.charge(usd("0.2"));
    assert_eq!(available(&account), "0.8");
    charge.take_back();
    assert_eq!(available(&account), "1");
    assert!(lock(&account.funds).charges.is_empty());
}

#[test]
fn what_waits_at_a_start_counts_until_a_view_includes_it() {
    let start = || {
        let mut waiting = Waiting::default();
        waiting.add(&used("0.1"));
        waiting.add(&used("0.2"));
        waiting.add(&Record { key: AccountId(Uuid::from_u128(1)), payload: b"no event".as_slice().into() });
        Known::new(waiting)
    };
    // Asked for before any of it is placed.
    let mut known = start();
    let account = remember(&mut known, view("1", 5));
    assert_eq!(available(&account), "0.7");
    known.drained(&used("0.1"), at(6));
    known.drained(&used("0.2"), at(8));
    assert_eq!(available(&account), "0.7");
    remember(&mut known, view("0.9", 7));
    assert_eq!(available(&account), "0.7");
    remember(&mut known, view("0.7", 8));
    assert_eq!(available(&account), "0.7");
    assert!(lock(&account.funds).charges.is_empty());
    // Asked for after some of it is placed, and by a view that includes that.
    let mut known = start();
    known.drained(&used("0.1"), at(6));
    let account = remember(&mut known, view("0.9", 6));
    assert_eq!(available(&account), "0.7");
    known.drained(&used("0.2"), at(8));
    remember(&mut known, view("0.7", 8));
    assert_eq!(available(&account), "0.7");
    assert!(lock(&account.funds).charges.is_empty());
}

/// One charge's way: begun, recorded and drained at this place of the log, and seen by a view.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    Fail,
    /// The oldest recorded charge gets its place.
    Place,
    /// A view as of this share of the log.
    View(u64),
    /// The process ends and another one finds what was not noted as drained.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Begin),
        1 => Just(Step::Fail),
        4 => Just(Step::Place),
        3 => (0_u64..=100).prop_map(Step::View),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Against a log in which every charge is: what is available is the whole balance less all that was ever recorded, or
    /// less, while a view is ahead of what this gateway knows. At the end it is exact, and nothing is remembered.
    #[test]
    fn random_ways_never_release_twice_and_never_leak(steps in steps()) {
        let mut known = Known::default();
        let mut account = remember(&mut known, view("100", 0));
        let cents = |n: usize| Usd::from_pico(i64::try_from(n).unwrap() * 10_000_000_000);
        let hundred = usd("100");
        // The log: which charge is at each offset from 1 on. A repeat is there twice and counts once.
        let (mut log, mut begun, mut undrained): (Vec<usize>, usize, Vec<usize>) = (Vec::new(), 0, Vec::new());
        let seen = |log: &[usize], upto: usize| -> Usd {
            let once: BTreeSet<_> = log[..upto].iter().collect();
            hundred.checked_sub(cents(once.len())).unwrap()
        };
        for step in steps {
            match step {
                Step::Begin => {
                    hold(&account, "0.05").unwrap().charge(cents(1));
                    undrained.push(begun);
                    begun += 1;
                }
                Step::Fail => hold(&account, "0.05").unwrap().charge(cents(1)).take_back(),
                Step::Place => {
                    if !undrained.is_empty() {
                        log.push(undrained.remove(0));
                        known.drained(&used("0.01"), at(log.len() as u64));
                    }
                }
                Step::View(share) => {
                    let upto = log.len() * usize::try_from(share).unwrap() / 100;
                    let mut view = view("0", upto as u64);
                    view.balance_usd = seen(&log, upto);
                    remember(&mut known, view);
                }
                Step::Restart => {
                    // The last one that was drained was not noted.
                    let repeated = log.last().copied().filter(|last| !undrained.contains(last));
                    undrained.splice(0..0, repeated);
                    let mut waiting = Waiting::default();
                    undrained.iter().for_each(|_| waiting.add(&used("0.01")));
                    known = Known::new(waiting);
                    let mut view = view("0", log.len() as u64);
                    view.balance_usd = seen(&log, log.len());
                    account = remember(&mut known, view);
                }
            }
            let most = hundred.checked_sub(cents(begun)).unwrap();
            let now = usd(&available(&account));
            prop_assert!(now <= most, "{now} is available of {most}");
        }
        for charge in undrained {
            log.push(charge);
            known.drained(&used("0.01"), at(log.len() as u64));
        }
        let mut view = view("0", log.len() as u64);
        view.balance_usd = seen(&log, log.len());
        remember(&mut known, view);
        prop_assert_eq!(usd(&available(&account)), hundred.checked_sub(cents(begun)).unwrap());
        prop_assert!(lock(&account.funds).charges.is_empty());
    }
}
