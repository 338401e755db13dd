//! `credit.*` events.

use schemas::api::{AdjustmentKind, EntryDetail, LotSource};
use schemas::event::{CreditAdjustedV1, CreditChange, CreditGrantedV1, CreditGrantedV2, CreditSource};
use schemas::{LotId, Timestamp, Usd};

use super::funds::{Charge, NewLot, charge, fund, positive};
use crate::journal::Journal;
use crate::{AccountState, Code, LedgerAccount, Reason};

/// What both versions of `credit.granted` say.
pub(super) struct Grant<'a> {
    lot_id: LotId,
    source: CreditSource,
    amount: Usd,
    priority: u8,
    expires_at: Option<Timestamp>,
    reason: &'a str,
}

impl<'a> From<&'a CreditGrantedV1> for Grant<'a> {
    fn from(data: &'a CreditGrantedV1) -> Self {
        let CreditGrantedV1 { lot_id, source, amount_usd, priority, ref reason } = *data;
        Self { lot_id, source, amount: amount_usd, priority, expires_at: None, reason }
    }
}

impl<'a> From<&'a CreditGrantedV2> for Grant<'a> {
    fn from(data: &'a CreditGrantedV2) -> Self {
        let CreditGrantedV2 { lot_id, source, amount_usd, priority, expires_at, ref reason } = *data;
        Self { lot_id, source, amount: amount_usd, priority, expires_at, reason }
    }
}

pub(super) fn granted(
    state: &mut AccountState,
    journal: &mut Journal,
    grant: &Grant<'_>,
) -> Result<EntryDetail, Reason> {
    let Grant { lot_id, source, amount, priority, expires_at, reason } = *grant;
    if source == CreditSource::Trial && expires_at.is_some() {
        return Err(Reason::NeverExpires(lot_id));
    }
    let lot = NewLot { id: lot_id, source: source.into(), amount, priority, expires_at };
    fund(state, journal, LedgerAccount::PromotionalExpense, Code::Grant, lot)?;
    Ok(EntryDetail::Credit { lot_id, reason: reason.to_owned(), expires_at })
}

pub(super) fn adjusted(
    state: &mut AccountState,
    journal: &mut Journal,
    at: Timestamp,
    data: &CreditAdjustedV1,
) -> Result<Option<EntryDetail>, Reason> {
    let entry = |kind, lot_id| Some(EntryDetail::Adjustment { kind, lot_id, reason: data.reason.clone() });
    match data.change {
        CreditChange::Give { lot_id, amount_usd, priority } => {
            let source = LotSource::Adjustment;
            let lot = NewLot { id: lot_id, source, amount: amount_usd, priority, expires_at: None };
            fund(state, journal, LedgerAccount::AdjustmentExpense, Code::Adjustment, lot)?;
            Ok(entry(AdjustmentKind::Given, Some(lot_id)))
        }
        CreditChange::Take { lot_id, amount_usd } => {
            positive(amount_usd)?;
            let taken = Charge {
                to: LedgerAccount::AdjustmentExpense,
                amount: amount_usd,
                code: Code::Adjustment,
                debt_code: Code::Adjustment,
                first: lot_id,
            };
            charge(state, journal, taken)?;
            Ok(entry(AdjustmentKind::Taken, lot_id))
        }
        CreditChange::Expire { lot_id } => {
            let expired = expire(state, journal, at, lot_id)?;
            Ok(expired.then(|| entry(AdjustmentKind::Expired, Some(lot_id))).flatten())
        }
    }
}

/// Closes a lot whose time is over. One that is empty already has nothing to lapse; what is frozen of it must be decided
/// first, or it would come back without its end.
fn expire(state: &mut AccountState, journal: &mut Journal, at: Timestamp, lot: LotId) -> Result<bool, Reason> {
    let mut frozen = state.disputes.values().flat_map(|dispute| &dispute.frozen);
    if frozen.any(|part| part.id == lot) {
        return Err(Reason::LotFrozen(lot));
    }
    let Some(index) = state.lots.iter().position(|other| other.id == lot) else { return Ok(false) };
    if state.lots[index].expires_at.is_none_or(|end| at < end) {
        return Err(Reason::NotExpired(lot));
    }
    let lapsed = state.lots.remove(index).remaining;
    let credit = LedgerAccount::CustomerCredit(state.id);
    journal.usd(credit, LedgerAccount::PromotionalExpense, lapsed, Code::CreditExpired, Some(lot));
    Ok(true)
}
