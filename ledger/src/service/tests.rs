//! Commands and questions on an embedded log and store.

mod accounts;
mod credit;
mod invoices;
mod waiting;

use schemas::api::{OpenAccount, Refusal};
use schemas::{AccountId, Usd};
use uuid::Uuid;

use super::LedgerError;

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn open(email: &str, plan: &str) -> OpenAccount {
    OpenAccount { email: email.into(), plan: plan.into() }
}

fn stranger() -> AccountId {
    AccountId(Uuid::from_u128(7))
}

/// The refusal of a command; whatever it answers otherwise may have no `Debug`.
fn refusal<T>(result: Result<T, LedgerError>) -> Refusal {
    match result {
        Err(LedgerError::Refused(refusal)) => refusal,
        Err(other) => panic!("not refused: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

fn done<T>(result: Result<T, LedgerError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
