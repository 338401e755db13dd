//! Payments, refunds, disputes: each once, whatever is told twice.

use schemas::AccountId;
use schemas::api::{AccountStatus, Command, OutsideId};
use schemas::event::DisputeOutcome;

use super::{done, execute, opened, refused, usd};
use crate::rig::Rig;

pub(crate) fn outside(id: &str) -> OutsideId {
    OutsideId { processor: "stripe".into(), id: id.into() }
}

pub(crate) fn pay(id: &str, amount: &str) -> Command {
    Command::RecordPayment { payment: outside(id), amount_usd: usd(amount), fee_usd: None }
}

fn refund(payment: &str, refund_id: &str, amount: &str) -> Command {
    let refund_id = refund_id.into();
    Command::Refund { payment: outside(payment), refund_id, amount_usd: usd(amount), fee_usd: None, reason: "r".into() }
}

fn dispute(payment: &str, dispute_id: &str, amount: &str) -> Command {
    Command::OpenDispute {
        payment: outside(payment),
        dispute_id: dispute_id.into(),
        amount_usd: usd(amount),
        fee_usd: Some(usd("1.25")),
        suspend: true,
        reason: "fraudulent".into(),
    }
}

fn decide(dispute: &str, outcome: DisputeOutcome) -> Command {
    Command::CloseDispute { dispute: outside(dispute), outcome, reinstate: true }
}

async fn check(rig: &Rig, account: AccountId, command: Command, amount: &str, balance: &str) {
    let told = format!("{command:?}");
    assert_eq!(execute(rig, account, command).await, (amount.to_owned(), balance.to_owned()), "{told}");
}

#[tokio::test]
async fn what_a_processor_tells_happens_once() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    check(&rig, account, pay("p1", "20"), "20", "25").await;
    assert!(done(rig.ledger.account(account).await).paid);
    check(&rig, account, refund("p1", "r1", "5"), "-5", "20").await;
    check(&rig, account, dispute("p1", "d1", "10"), "-10", "10").await;
    assert_eq!(done(rig.ledger.account(account).await).status, AccountStatus::Suspended);
    check(&rig, account, decide("d1", DisputeOutcome::Won), "10", "20").await;
    assert_eq!(done(rig.ledger.account(account).await).status, AccountStatus::Active);
    check(&rig, account, dispute("p1", "d2", "15"), "-15", "5").await;
    check(&rig, account, decide("d2", DisputeOutcome::Lost), "0", "5").await;
    // Every one told once more is answered as it was.
    let posted = rig.logged().await.0.len();
    check(&rig, account, pay("p1", "20"), "20", "25").await;
    check(&rig, account, refund("p1", "r1", "5"), "-5", "20").await;
    check(&rig, account, dispute("p1", "d1", "10"), "-10", "10").await;
    check(&rig, account, decide("d1", DisputeOutcome::Won), "10", "20").await;
    assert_eq!(rig.logged().await.0.len(), posted);
    let statement = done(rig.ledger.balance(account).await);
    assert_eq!((statement.balance_usd, statement.frozen_usd), (usd("5"), usd("0")));
}

/// The part of a bought lot is drawn after what was given.
#[tokio::test]
async fn given_credit_is_drawn_before_bought_credit() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    check(&rig, account, pay("p1", "20"), "20", "25").await;
    rig.used(account, 1, 6, 0).await;
    let lots = done(rig.ledger.balance(account).await).lots;
    let left: Vec<_> = lots.iter().map(|lot| (lot.source.as_str(), lot.remaining_usd.to_string())).collect();
    assert_eq!(left, [("purchase", "19".to_owned())]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let rig = Rig::new().await;
    let account = opened(&rig, "ann@example.com").await;
    let other = opened(&rig, "bob@example.com").await;
    check(&rig, account, pay("p1", "20"), "20", "25").await;
    check(&rig, account, refund("p1", "r1", "5"), "-5", "20").await;
    let check = async |account: AccountId, command: Command, expected: &str| {
        let refused = refused(&rig, account, command).await;
        assert!(refused.starts_with(expected), "{refused}\nis not\n{expected}");
    };
    let elsewhere = format!("payment: was used for account {account} before; nothing was changed");
    check(other, pay("p1", "20"), &elsewhere).await;
    check(account, pay("p1", "21"), "payment: was used before for something else: event ").await;
    check(account, pay("p2", "0.001"), "amount_usd: 0.001 USD; processors pay whole cents").await;
    check(account, pay("p2", "0"), "amount_usd: 0 USD; it has to be above zero").await;
    check(account, pay(" ", "1"), "payment: is empty; give it some text").await;
    let colon = OutsideId { processor: "a:b".into(), id: "p".into() };
    let colon = Command::RecordPayment { payment: colon, amount_usd: usd("1"), fee_usd: None };
    check(account, colon, "processor: `a:b`; a name has letters, digits, `-` and `_` only").await;
    let fee = Command::RecordPayment { payment: outside("p2"), amount_usd: usd("1"), fee_usd: Some(usd("-1")) };
    check(account, fee, "fee_usd: -1 USD; it has to be above zero").await;

    check(account, refund("p1", "r1", "6"), "refund_id: was used before for something else").await;
    check(account, refund("p1", "r2", "15.01"), "amount_usd: 15.01 USD; of the payment 15 USD are left").await;
    check(account, refund("p2", "r2", "1"), "payment: the account has no payment `p2` of stripe of which").await;
    check(other, refund("p1", "r2", "1"), "payment: the account has no payment `p1` of stripe of which").await;
    check(account, dispute("p1", "d1", "16"), "amount_usd: 16 USD; of the payment 15 USD are left").await;
    let won = decide("d1", DisputeOutcome::Won);
    check(account, won, "dispute: the account has no open dispute `d1` of stripe").await;
    execute(&rig, account, dispute("p1", "d1", "15")).await;
    execute(&rig, account, decide("d1", DisputeOutcome::Won)).await;
    let lost = decide("d1", DisputeOutcome::Lost);
    check(account, lost, "dispute: was used before for something else").await;
}
