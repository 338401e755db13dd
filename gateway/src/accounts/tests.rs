//! Holds, charges in flight and views, against exact amounts.

use schemas::api::AccountStatus;
use schemas::catalogue::PlanTerms;
use schemas::{PartitionId, Usd};
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

#[test]
fn a_hold_is_never_more_than_what_is_available() {
    let account = Arc::new(Account::new(view("1", 5), 100));
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
fn a_charge_counts_once_however_late_or_early_the_view_comes() {
    let account = Arc::new(Account::new(view("1", 5), 100));
    hold(&account, "0.5").unwrap().settle(at(7), usd("0.2"));
    assert_eq!(available(&account), "0.8");
    // A view from before the charge.
    account.renew(view("1", 6));
    assert_eq!(available(&account), "0.8");
    // The ledger applies the charge before the hold settles here.
    let late = hold(&account, "0.5").unwrap();
    account.renew(view("0.7", 9));
    late.settle(at(9), usd("0.1"));
    assert_eq!(available(&account), "0.7");
    // An older view never replaces a newer one.
    account.renew(view("1", 6));
    assert_eq!(available(&account), "0.7");
}

#[test]
fn a_debt_is_not_available() {
    let account = Arc::new(Account::new(view("-0.5", 5), 100));
    assert_eq!(available(&account), "-0.5");
    assert!(hold(&account, "0").is_err());
}
