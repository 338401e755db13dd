//! Every reason for quarantine, by table. Nothing of the account changes.

mod accounts;
mod records;
mod subscriptions;
mod usage;

use std::collections::BTreeSet;

use schemas::api::AtPeriodEnd;
use schemas::{EventData, Month, Offset};

use super::events::*;
use super::saga::Saga;
use crate::{AccountState, Outcome, Reason};

struct Table {
    codes: BTreeSet<&'static str>,
}

impl Table {
    #[track_caller]
    fn check(&mut self, history: &[EventData], last: EventData, code: &'static str) {
        let mut saga = Saga::of(history);
        let before: Option<AccountState> = saga.memory.accounts.get(&account_id(1)).cloned();
        let shown = format!("{last:?}");
        let Outcome::Quarantined(reason) = saga.tell(micros(1), last) else { panic!("not quarantined: {shown}") };
        assert_eq!(reason.code(), code, "{reason}: {shown}");
        assert!(!reason.to_string().is_empty());
        assert_eq!(saga.memory.accounts.get(&account_id(1)), before.as_ref());
        self.codes.insert(code);
    }
}

/// Every code there is. A new reason does not compile here before it has a row.
pub(super) fn every_code() -> BTreeSet<&'static str> {
    let of = |reason: Reason| match &reason {
        Reason::Undecodable(_)
        | Reason::Misrouted
        | Reason::IdReused
        | Reason::NulCharacter { .. }
        | Reason::UnknownAccount
        | Reason::AlreadyOpen
        | Reason::AccountClosed
        | Reason::KeyExists(_)
        | Reason::UnknownKey(_)
        | Reason::LotExists(_)
        | Reason::NeverExpires(_)
        | Reason::NotExpired(_)
        | Reason::LotFrozen(_)
        | Reason::DecidedOtherwise(_)
        | Reason::TooEarly { .. }
        | Reason::AmountNotPositive(_)
        | Reason::AmountNotCents(_)
        | Reason::OutOfRange
        | Reason::InconsistentTokens
        | Reason::CostMismatch { .. }
        | Reason::StaleCorrection(_)
        | Reason::PaymentExists(_)
        | Reason::UnknownPayment(_)
        | Reason::OtherProcessor(_)
        | Reason::BeyondPayment { .. }
        | Reason::DisputeExists(_)
        | Reason::UnknownDispute(_)
        | Reason::SubscriptionExists(_)
        | Reason::UnknownSubscription(_)
        | Reason::OtherPeriod { .. }
        | Reason::InvalidPeriod(_)
        | Reason::PriceMismatch { .. }
        | Reason::NotTheOperator
        | Reason::OperatorAccount
        | Reason::EmptyRange { .. }
        | Reason::OtherInvoice { .. }
        | Reason::MonthNotOver(_) => reason.code(),
    };
    let (stated, open) = (period(0, 1), period(0, 2));
    let money = usd("1");
    [
        Reason::Undecodable(String::new()),
        Reason::Misrouted,
        Reason::IdReused,
        Reason::NulCharacter { field: "" },
        Reason::UnknownAccount,
        Reason::AlreadyOpen,
        Reason::AccountClosed,
        Reason::KeyExists(key_id(1)),
        Reason::UnknownKey(key_id(1)),
        Reason::LotExists(lot_id(1)),
        Reason::NeverExpires(lot_id(1)),
        Reason::NotExpired(lot_id(1)),
        Reason::LotFrozen(lot_id(1)),
        Reason::DecidedOtherwise(AtPeriodEnd::End),
        Reason::TooEarly { period: open, at: micros(0) },
        Reason::AmountNotPositive(money),
        Reason::AmountNotCents(money),
        Reason::OutOfRange,
        Reason::InconsistentTokens,
        Reason::CostMismatch { stated: money, rated: money },
        Reason::StaleCorrection(event_id(1)),
        Reason::PaymentExists(payment_id(1)),
        Reason::UnknownPayment(payment_id(1)),
        Reason::OtherProcessor(payment_id(1)),
        Reason::BeyondPayment { asked: money, left: money },
        Reason::DisputeExists(dispute_id(1)),
        Reason::UnknownDispute(dispute_id(1)),
        Reason::SubscriptionExists(subscription_id(1)),
        Reason::UnknownSubscription(subscription_id(1)),
        Reason::OtherPeriod { stated, open },
        Reason::InvalidPeriod(stated),
        Reason::PriceMismatch { stated: money, charged: money },
        Reason::NotTheOperator,
        Reason::OperatorAccount,
        Reason::EmptyRange { after: Offset(1), through: Offset(1) },
        Reason::OtherInvoice { stated: event_id(1), derived: event_id(2) },
        Reason::MonthNotOver(Month::holding(micros(0))),
    ]
    .map(of)
    .into()
}

#[test]
fn what_is_quarantined_changes_nothing() {
    let mut table = Table { codes: BTreeSet::new() };
    accounts::accounts_and_keys(&mut table);
    accounts::credit(&mut table);
    usage::usage_and_corrections(&mut table);
    usage::payments_and_disputes(&mut table);
    subscriptions::subscriptions(&mut table);
    accounts::invoices(&mut table);
    records::texts(&mut table);
    records::records(&mut table);
    assert_eq!(table.codes, every_code());
}
