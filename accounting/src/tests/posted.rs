//! What every event type posts, by table.

mod credit;
mod payments;
mod plans;
mod usage;

use std::cell::RefCell;
use std::collections::BTreeSet;

use schemas::EventData;

use super::events::*;
use super::saga::Saga;
use crate::{Commodity, Outcome};

/// Accounts as they are shown here: without the customer they belong to.
fn short(transfers: &[crate::Transfer]) -> Vec<String> {
    let name = |account: &crate::LedgerAccount| account.to_string().replace(&format!(":{}", account_id(1)), "");
    let show = |t: &crate::Transfer| {
        format!("{} > {} {} {}", name(&t.credit), name(&t.debit), t.amount.as_decimal(), t.code.as_str())
    };
    transfers.iter().map(show).collect()
}

thread_local! {
    static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// After `history`, `last` posts these transfers (`from > to amount code`), this change of the balance and this balance.
#[track_caller]
fn check(history: &[EventData], last: EventData, transfers: &[&str], amount: &str, balance: &str) -> Saga {
    let mut saga = Saga::of(history);
    SEEN.with_borrow_mut(|seen| seen.insert(schema_of(&last)));
    let posting = saga.posts(last);
    assert_eq!(short(&posting.transfers), transfers);
    assert_eq!((posting.amount.to_string().as_str(), posting.balance.to_string().as_str()), (amount, balance));
    assert_eq!(saga.state().balance().unwrap(), posting.balance);
    assert_eq!(saga.state().version.0, history.len() as u64);
    let concerns_value = posting.transfers.iter().any(|_| true);
    assert!(posting.detail.is_some() || !concerns_value);
    saga
}

fn schema_of(data: &EventData) -> String {
    let record = event(1, micros(1), data.clone()).encode().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    record["dataschema"].as_str().unwrap().replace("urn:modelhub:schema:", "").replace(":v", ".v")
}

const CREDIT: &str = "liability:customer-credit";
const DEBT: &str = "asset:customer-debt";

#[test]
fn every_event_type_posts_what_it_should() {
    credit::accounts_and_keys();
    credit::credit();
    usage::usage_of_credit();
    usage::usage_of_plan_tokens();
    usage::corrections();
    payments::payments();
    payments::disputes();
    plans::subscriptions();
    plans::invoices();
    let every: BTreeSet<String> =
        schemas::json_schema::all().into_iter().map(|(name, _)| name.replace(".json", "")).collect();
    SEEN.with_borrow(|seen| assert_eq!(*seen, every));
}

#[test]
fn limits_are_within() {
    let most = 1_000_000_000_000_000;
    for (quota, cap) in [(most, 0), (0, most)] {
        let saga = Saga::of(&[open(), start(plan("x", "0", quota, cap), period(0, 1000), 7, None)]);
        assert_eq!(saga.state().plan_tokens(), quota);
    }
    // Clocks may be a day off, and not a microsecond more (see `quarantined`).
    let day = 24 * 60 * 60 * 1_000_000;
    let small = plan("small", "10", 1000, 600);
    let long = period(0, day + 1);
    let begun = [open(), start(small.clone(), long, 7, None)];
    let renewal = renew(long, small.clone(), period(day + 1, 2 * day), 8, None);
    assert_eq!(Saga::of(&begun).posts_at(micros(1), renewal).amount, usd("-10"));
    let ended = cancel(long, micros(-day), Some(unused(usd("10"), 9)));
    assert_eq!(Saga::of(&begun).posts(ended).amount, usd("10"));
}

#[test]
fn commodities_have_their_names() {
    assert_eq!([Commodity::Usd, Commodity::PlanTokens].map(Commodity::as_str), ["USD", "PLAN_TOKENS"]);
}

#[test]
fn repeats_post_nothing() {
    let mut saga = Saga::of(&[open()]);
    let payment = event(7, micros(1), pay(1, 1, usd("20"), None));
    assert!(matches!(saga.deliver(&payment), Outcome::Applied(_)));
    let before = saga.memory.hash();
    for _ in 0..3 {
        assert_eq!(saga.deliver(&payment), Outcome::Duplicate);
    }
    assert_eq!(saga.memory.hash(), before);
}
