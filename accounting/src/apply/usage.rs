//! `usage.recorded`: nearly all of the log. It works in place, so it changes nothing before everything is checked.

use schemas::api::EntryDetail;
use schemas::event::Usage;

use super::funds::{Charge, charge};
use super::plan_tokens;
use crate::journal::Journal;
use crate::{AccountState, Code, LedgerAccount, Posting, Reason, rating};

/// Plan tokens cover what they can; the rest is charged at list price. Whichever period the request belongs to, it draws
/// on the open one.
///
/// A request that was admitted on a lease uses no more plan tokens than were set aside for it. The others are spoken for:
/// used for this request, they would be missing for one that has nothing else, and money that was set aside for this one would
/// not pay for that one's dearer tokens.
pub(super) fn recorded(state: &mut AccountState, usage: &Usage<'_>) -> Result<Posting, Reason> {
    let rated = rating::cost(&usage.tokens, &usage.price).ok_or(Reason::InconsistentTokens)?;
    if rated != usage.cost_usd {
        return Err(Reason::CostMismatch { stated: usage.cost_usd, rated });
    }
    let covered = state.plan_tokens().min(usage.tokens.total()).min(plan_tokens_leased(usage));
    let overage = match covered {
        0 => rated,
        _ => rating::overage(&usage.tokens, &usage.price, covered).ok_or(Reason::InconsistentTokens)?,
    };
    let before = state.balance().ok_or(Reason::OutOfRange)?;
    let balance = before.checked_sub(overage).filter(|balance| balance.in_range()).ok_or(Reason::OutOfRange)?;

    let mut journal = Journal::default();
    let cost = Charge {
        to: LedgerAccount::UsageRevenue(usage.model.into()),
        amount: overage,
        code: Code::Usage,
        debt_code: Code::UsageOnDebt,
        first: None,
    };
    charge(state, &mut journal, cost)?;
    let plan_tokens = plan_tokens::spend(state, &mut journal, usage.model, covered);
    let detail = EntryDetail::Usage {
        request_id: usage.request_id,
        key_id: usage.key_id,
        model: usage.model.to_owned(),
        outcome: usage.outcome,
        accuracy: usage.accuracy,
        tokens: usage.tokens,
        plan_tokens,
    };
    let (transfers, amount) = (journal.into_transfers(), overage.negated());
    Ok(Posting { transfers, amount, balance, detail: Some(detail), invoice: None })
}

/// The most plan tokens that a request may use.
fn plan_tokens_leased(usage: &Usage<'_>) -> u64 {
    match (usage.lease_id, usage.funding) {
        (Some(_), Some(funding)) => funding.plan_tokens,
        _ => u64::MAX,
    }
}
