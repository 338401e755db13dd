//! Commands and questions on an embedded log and store.

mod access;
mod accounts;
mod corrections;
mod credit;
mod invoices;
mod leases;
pub(crate) mod payments;
pub(crate) mod subscriptions;
mod waiting;

use schemas::api::{Command, OpenAccount, Refusal};
use schemas::{AccountId, Usd};
use uuid::Uuid;

use super::LedgerError;
use crate::rig::Rig;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn open(email: &str, plan: &str) -> OpenAccount {
    OpenAccount { email: email.into(), plan: plan.into() }
}

fn stranger() -> AccountId {
    AccountId(Uuid::from_u128(7))
}

/// Opens an account with a balance of 5 USD.
pub(crate) async fn opened(rig: &Rig, email: &str) -> AccountId {
    done(rig.ledger.open_account(open(email, "free")).await).account_id
}

/// Carries out a command that must not be refused: what it changed the balance by, and the balance with it.
async fn execute(rig: &Rig, account: AccountId, command: Command) -> (String, String) {
    let done = done(rig.ledger.execute(account, command).await);
    (done.amount_usd.to_string(), done.balance_usd.to_string())
}

/// Why a command is refused; nothing may have been appended.
async fn refused(rig: &Rig, account: AccountId, command: Command) -> String {
    let before = rig.logged().await.0.len();
    let refusal = refusal(rig.ledger.execute(account, command).await);
    assert_eq!(rig.logged().await.0.len(), before, "{refusal}");
    refusal.to_string()
}

/// The refusal of a command; whatever it answers otherwise may have no `Debug`.
fn refusal<T>(result: Result<T, LedgerError>) -> Refusal {
    match result {
        Err(LedgerError::Refused(refusal)) => refusal,
        Err(other) => panic!("not refused: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

pub(crate) fn done<T>(result: Result<T, LedgerError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
