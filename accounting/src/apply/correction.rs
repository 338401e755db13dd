//! `usage.corrected`: what was recorded stays a fact; this puts its consequences right.
//!
//! The log does not let a fold look back at one of a billion requests, so the event brings the charge that it starts from,
//! and the state remembers those that were corrected: a second correction has to start where the first one ended, at the
//! same price, for the same model.

use schemas::api::{CorrectionEntry, EntryDetail, LotSource};
use schemas::event::{Funding, UsageCharge, UsageCorrectedV1};

use super::funds::{Charge, NewLot, charge, fund};
use super::plan_tokens;
use crate::journal::Journal;
use crate::{AccountState, Code, Corrected, LedgerAccount, Reason, rating};

/// Plan tokens that are too many go back to the open period, and are gone where there is none; those that are missing are
/// taken from it. The rest is money: given back as a lot, or charged.
pub(super) fn corrected(
    state: &mut AccountState,
    journal: &mut Journal,
    data: &UsageCorrectedV1,
) -> Result<EntryDetail, Reason> {
    let (before, tokens) = (data.before, data.tokens);
    let earlier = Corrected { charge: before, price: data.price, model: data.model.clone() };
    if state.corrections.get(&data.usage_event_id).is_some_and(|now| *now != earlier) {
        return Err(Reason::StaleCorrection(data.usage_event_id));
    }
    let covered_before = before.funding.plan_tokens;
    let rated = rating::overage(&before.tokens, &data.price, covered_before).ok_or(Reason::InconsistentTokens)?;
    if rated != before.funding.credit_usd {
        return Err(Reason::CostMismatch { stated: before.funding.credit_usd, rated });
    }
    if !tokens.is_consistent() {
        return Err(Reason::InconsistentTokens);
    }
    let kept = covered_before.min(tokens.total());
    let more = state.plan_tokens().min(tokens.total().saturating_sub(before.tokens.total()));
    let plan_tokens = kept + more;
    let credit_usd = rating::overage(&tokens, &data.price, plan_tokens).ok_or(Reason::InconsistentTokens)?;
    if !credit_usd.in_range() {
        return Err(Reason::OutOfRange);
    }
    let after = UsageCharge { tokens, funding: Funding { plan_tokens, credit_usd } };

    plan_tokens::spend(state, journal, &data.model, more);
    plan_tokens::give_back(state, journal, &data.model, data.lot_id, covered_before - kept);
    let change = credit_usd.checked_sub(rated).ok_or(Reason::OutOfRange)?;
    let revenue = LedgerAccount::UsageRevenue(data.model.as_str().into());
    let code = Code::UsageCorrected;
    if change.is_positive() {
        charge(state, journal, Charge { to: revenue, amount: change, code, debt_code: code, first: None })?;
    } else if !change.is_zero() {
        let lot = NewLot {
            id: data.lot_id,
            source: LotSource::Correction,
            amount: change.negated(),
            priority: data.priority,
            expires_at: None,
        };
        fund(state, journal, revenue, code, lot)?;
    }
    state.corrections.insert(data.usage_event_id, Corrected { charge: after, ..earlier });
    Ok(EntryDetail::Correction(Box::new(CorrectionEntry {
        usage_event_id: data.usage_event_id,
        request_id: data.request_id,
        key_id: data.key_id,
        model: data.model.clone(),
        before,
        after,
        reason: data.reason.clone(),
    })))
}
