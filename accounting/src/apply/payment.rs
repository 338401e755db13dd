//! `payment.*` events but disputes.

use schemas::api::{EntryDetail, LotSource};
use schemas::event::{PaymentFailedV1, PaymentRefundedV1, PaymentSucceededV1};
use schemas::{PaymentId, Usd};

use super::funds::{Charge, NewLot, charge, fund, positive};
use crate::journal::Journal;
use crate::{AccountState, Code, LedgerAccount, Payment, Reason};

pub(super) fn succeeded(
    state: &mut AccountState,
    journal: &mut Journal,
    data: &PaymentSucceededV1,
) -> Result<EntryDetail, Reason> {
    cents(data.amount_usd)?;
    if state.payments.contains_key(&data.payment_id) {
        return Err(Reason::PaymentExists(data.payment_id));
    }
    let lot = NewLot {
        id: data.lot_id,
        source: LotSource::Purchase,
        amount: data.amount_usd,
        priority: data.priority,
        expires_at: None,
    };
    fund(state, journal, LedgerAccount::ProcessorClearing(data.processor.as_str().into()), Code::Payment, lot)?;
    fee(journal, &data.processor, data.fee_usd)?;
    let payment = Payment { processor: data.processor.clone(), lot: data.lot_id, left: data.amount_usd };
    state.payments.insert(data.payment_id, payment);
    state.paid = true;
    Ok(EntryDetail::Payment { payment_id: data.payment_id, processor: data.processor.clone(), lot_id: data.lot_id })
}

/// Nothing was paid, so nothing moves: it is a fact of the log for whoever looks after failed payments.
pub(super) fn failed(data: &PaymentFailedV1) -> Result<(), Reason> {
    cents(data.amount_usd)
}

/// A refund takes what the payment's own lot still has, then other credit; what is not there any more becomes debt.
pub(super) fn refunded(
    state: &mut AccountState,
    journal: &mut Journal,
    data: &PaymentRefundedV1,
) -> Result<EntryDetail, Reason> {
    cents(data.amount_usd)?;
    let payment = use_up(state, data.payment_id, &data.processor, data.amount_usd)?;
    let refunds = LedgerAccount::Refunds(data.processor.as_str().into());
    let back = Charge {
        to: refunds.clone(),
        amount: data.amount_usd,
        code: Code::Refund,
        debt_code: Code::Refund,
        first: Some(payment.lot),
    };
    charge(state, journal, back)?;
    let clearing = LedgerAccount::ProcessorClearing(data.processor.as_str().into());
    journal.usd(refunds, clearing, data.amount_usd, Code::Refund, None);
    fee(journal, &data.processor, data.fee_usd)?;
    let processor = data.processor.clone();
    Ok(EntryDetail::Refund { payment_id: data.payment_id, processor, reason: data.reason.clone() })
}

/// Takes `amount` off what can still be refunded or disputed of a payment, and returns the payment as it was before.
pub(super) fn use_up(state: &mut AccountState, id: PaymentId, processor: &str, amount: Usd) -> Result<Payment, Reason> {
    let payment = state.payments.get_mut(&id).ok_or(Reason::UnknownPayment(id))?;
    if payment.processor != processor {
        return Err(Reason::OtherProcessor(id));
    }
    if amount > payment.left {
        return Err(Reason::BeyondPayment { asked: amount, left: payment.left });
    }
    let before = payment.clone();
    payment.left = payment.left.checked_sub(amount).ok_or(Reason::OutOfRange)?;
    Ok(before)
}

/// Refuses what no processor pays: nothing, less than nothing, parts of cents.
pub(super) fn cents(amount: Usd) -> Result<(), Reason> {
    positive(amount)?;
    if amount.is_whole_cents() { Ok(()) } else { Err(Reason::AmountNotCents(amount)) }
}

/// What a processor keeps for itself.
pub(super) fn fee(journal: &mut Journal, processor: &str, fee: Option<Usd>) -> Result<(), Reason> {
    let Some(fee) = fee else { return Ok(()) };
    positive(fee)?;
    let fees = LedgerAccount::ProcessorFees(processor.into());
    journal.usd(fees, LedgerAccount::ProcessorClearing(processor.into()), fee, Code::ProcessorFee, None);
    Ok(())
}
