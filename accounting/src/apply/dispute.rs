//! Disputes: the processor holds the money back, so we hold back what is left of the customer's credit.

use schemas::api::EntryDetail;
use schemas::event::{DisputeOutcome, PaymentDisputeClosedV1, PaymentDisputedV1};

use super::funds::{Charge, charge, restore};
use super::payment::{cents, fee, use_up};
use crate::journal::Journal;
use crate::{AccountState, Code, Dispute, LedgerAccount, Reason, Suspension, lots};

/// Freezes what is there, the payment's own lot first. What was spent already is at risk, but no debt before the dispute
/// is lost.
pub(super) fn opened(
    state: &mut AccountState,
    journal: &mut Journal,
    data: &PaymentDisputedV1,
) -> Result<EntryDetail, Reason> {
    cents(data.amount_usd)?;
    if state.disputes.contains_key(&data.dispute_id) || state.decided_disputes.contains(&data.dispute_id) {
        return Err(Reason::DisputeExists(data.dispute_id));
    }
    let payment = use_up(state, data.payment_id, &data.processor, data.amount_usd)?;
    let (disputed, clearing) = held_and_clearing(&data.processor);
    journal.usd(disputed, clearing, data.amount_usd, Code::Dispute, None);
    fee(journal, &data.processor, data.fee_usd)?;
    let found = lots::draw(&state.lots, data.amount_usd, Some(payment.lot)).ok_or(Reason::OutOfRange)?;
    for draw in &found.draws {
        let (credit, frozen) = (LedgerAccount::CustomerCredit(state.id), LedgerAccount::FrozenCredit(state.id));
        journal.usd(credit, frozen, draw.amount, Code::CreditFrozen, Some(draw.lot));
    }
    let dispute = Dispute {
        payment: data.payment_id,
        lot: payment.lot,
        processor: data.processor.clone(),
        amount: data.amount_usd,
        frozen: lots::take_parts(&mut state.lots, &found.draws),
    };
    state.disputes.insert(data.dispute_id, dispute);
    if data.suspend {
        state.suspensions.insert(Suspension::Dispute(data.dispute_id));
    }
    let PaymentDisputedV1 { dispute_id, payment_id, amount_usd: disputed_usd, .. } = *data;
    Ok(EntryDetail::Dispute { dispute_id, payment_id, disputed_usd })
}

pub(super) fn closed(
    state: &mut AccountState,
    journal: &mut Journal,
    data: &PaymentDisputeClosedV1,
) -> Result<EntryDetail, Reason> {
    let PaymentDisputeClosedV1 { dispute_id, payment_id, outcome, reinstate } = *data;
    let dispute = state.disputes.remove(&dispute_id).filter(|dispute| dispute.payment == payment_id);
    let dispute = dispute.ok_or(Reason::UnknownDispute(dispute_id))?;
    match outcome {
        DisputeOutcome::Won => won(state, journal, dispute)?,
        DisputeOutcome::Lost => lost(state, journal, &dispute)?,
    }
    state.decided_disputes.insert(dispute_id);
    if reinstate {
        state.suspensions.remove(&Suspension::Dispute(dispute_id));
    }
    Ok(EntryDetail::DisputeClosed { dispute_id, payment_id, outcome })
}

/// The processor returns the money, and every frozen part goes back to its lot.
fn won(state: &mut AccountState, journal: &mut Journal, dispute: Dispute) -> Result<(), Reason> {
    let Dispute { payment, lot: _, processor, amount, frozen } = dispute;
    let (disputed, clearing) = held_and_clearing(&processor);
    journal.usd(clearing, disputed, amount, Code::Dispute, None);
    for part in frozen {
        restore(state, journal, LedgerAccount::FrozenCredit(state.id), Code::CreditReleased, part)?;
    }
    let payment = state.payments.get_mut(&payment).ok_or(Reason::UnknownPayment(payment))?;
    payment.left = payment.left.checked_add(amount).ok_or(Reason::OutOfRange)?;
    Ok(())
}

/// The money is gone: what was frozen pays for it, then what credit came meanwhile; the rest is debt.
fn lost(state: &mut AccountState, journal: &mut Journal, dispute: &Dispute) -> Result<(), Reason> {
    let (disputed, _) = held_and_clearing(&dispute.processor);
    let mut left = dispute.amount;
    for part in &dispute.frozen {
        let frozen = LedgerAccount::FrozenCredit(state.id);
        journal.usd(frozen, disputed.clone(), part.remaining, Code::DisputeLost, Some(part.id));
        left = left.checked_sub(part.remaining).ok_or(Reason::OutOfRange)?;
    }
    let code = Code::DisputeLost;
    charge(state, journal, Charge { to: disputed, amount: left, code, debt_code: code, first: Some(dispute.lot) })
}

fn held_and_clearing(processor: &str) -> (LedgerAccount, LedgerAccount) {
    (LedgerAccount::Disputed(processor.into()), LedgerAccount::ProcessorClearing(processor.into()))
}
