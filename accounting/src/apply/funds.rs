//! How credit comes into an account and leaves it: the one way in, which settles a debt first, and the one way out, which
//! leaves a debt for what is not there.

use schemas::api::LotSource;
use schemas::{LotId, Timestamp, Usd};

use crate::journal::Journal;
use crate::{AccountState, Code, LedgerAccount, Lot, Reason, lots};

/// A credit lot to open.
#[derive(Clone, Copy)]
pub(super) struct NewLot {
    pub(super) id: LotId,
    pub(super) source: LotSource,
    pub(super) amount: Usd,
    pub(super) priority: u8,
    pub(super) expires_at: Option<Timestamp>,
}

/// Opens a lot with money from `from`.
pub(super) fn fund(
    state: &mut AccountState,
    journal: &mut Journal,
    from: LedgerAccount,
    code: Code,
    new: NewLot,
) -> Result<(), Reason> {
    let NewLot { id, source, amount, priority, expires_at } = new;
    positive(amount)?;
    let frozen = state.disputes.values().flat_map(|dispute| &dispute.frozen);
    if state.lots.iter().chain(frozen).any(|lot| lot.id == id) {
        return Err(Reason::LotExists(id));
    }
    let lot = Lot { id, source, amount, remaining: amount, priority, expires_at, sequence: state.lots_opened };
    state.lots_opened += 1;
    restore(state, journal, from, code, lot)
}

/// Puts money from `from` into a lot, or back into it. A debt takes its part first.
pub(super) fn restore(
    state: &mut AccountState,
    journal: &mut Journal,
    from: LedgerAccount,
    code: Code,
    mut lot: Lot,
) -> Result<(), Reason> {
    let credit = LedgerAccount::CustomerCredit(state.id);
    journal.usd(from, credit.clone(), lot.remaining, code, Some(lot.id));
    let settled = state.debt.min(lot.remaining);
    journal.usd(credit, LedgerAccount::CustomerDebt(state.id), settled, Code::DebtSettled, Some(lot.id));
    state.debt = state.debt.checked_sub(settled).ok_or(Reason::OutOfRange)?;
    lot.remaining = lot.remaining.checked_sub(settled).ok_or(Reason::OutOfRange)?;
    lots::insert(&mut state.lots, lot).ok_or(Reason::OutOfRange)
}

/// What is charged, and where it goes.
pub(super) struct Charge {
    pub(super) to: LedgerAccount,
    pub(super) amount: Usd,
    /// For what lots cover.
    pub(super) code: Code,
    /// For what becomes debt.
    pub(super) debt_code: Code,
    /// The lot that pays before all others.
    pub(super) first: Option<LotId>,
}

/// Charges an account: lots in funding order, and what they don't cover becomes debt. Refused as a whole or not at all.
pub(super) fn charge(state: &mut AccountState, journal: &mut Journal, charge: Charge) -> Result<(), Reason> {
    let Charge { to, amount, code, debt_code, first } = charge;
    let found = lots::draw(&state.lots, amount, first).ok_or(Reason::OutOfRange)?;
    let debt = state.debt.checked_add(found.uncovered).ok_or(Reason::OutOfRange)?;
    for draw in &found.draws {
        journal.usd(LedgerAccount::CustomerCredit(state.id), to.clone(), draw.amount, code, Some(draw.lot));
    }
    journal.usd(LedgerAccount::CustomerDebt(state.id), to, found.uncovered, debt_code, None);
    lots::take(&mut state.lots, &found.draws);
    state.debt = debt;
    Ok(())
}

/// Refuses an amount that is not above zero. One beyond what is kept exactly does not get here: it does not decode.
pub(super) fn positive(amount: Usd) -> Result<(), Reason> {
    if amount.is_positive() { Ok(()) } else { Err(Reason::AmountNotPositive(amount)) }
}
