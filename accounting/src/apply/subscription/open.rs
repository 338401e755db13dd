//! Opening a period: its price is charged, its tokens are there.

use schemas::api::{AtPeriodEnd, OpenedPeriod, Standing};
use schemas::catalogue::PlanTerms;
use schemas::event::{BillingAnchor, Period};
use schemas::{LotId, PaymentId, SubscriptionId, Usd};

use crate::apply::funds::{Charge, charge};
use crate::apply::plan_tokens;
use crate::journal::Journal;
use crate::{AccountState, Code, LedgerAccount, Reason, Subscription, TokenLot, period};

/// The most tokens that a plan may include, or let roll over: sums of a few stay exact everywhere.
const MAX_PLAN_TOKENS: u64 = 1_000_000_000_000_000;

/// A period to open.
pub(super) struct NewPeriod<'a> {
    pub(super) subscription: SubscriptionId,
    pub(super) plan: &'a PlanTerms,
    pub(super) period: Period,
    pub(super) anchor: BillingAnchor,
    pub(super) token_lot: LotId,
    pub(super) payment: Option<PaymentId>,
    /// What the period before left.
    pub(super) carried: Vec<TokenLot>,
}

/// Opens a period. Its price comes from the payment made for it, then from other credit; the rest is debt.
pub(super) fn open(
    state: &mut AccountState,
    journal: &mut Journal,
    new: NewPeriod<'_>,
) -> Result<OpenedPeriod, Reason> {
    let NewPeriod { subscription, plan, period, anchor, token_lot, payment, carried } = new;
    check_terms(plan)?;
    if period.start >= period.end || !period::is_valid(&anchor) {
        return Err(Reason::InvalidPeriod(period));
    }
    if carried.iter().any(|lot| lot.id == token_lot) {
        return Err(Reason::LotExists(token_lot));
    }
    let paid = |id| state.payments.get(&id).map(|payment| payment.lot).ok_or(Reason::UnknownPayment(id));
    let first = payment.map(paid).transpose()?;
    let price = Charge {
        to: LedgerAccount::DeferredPlanRevenue(state.id),
        amount: plan.price_usd,
        code: Code::PlanPrice,
        debt_code: Code::PlanPrice,
        first,
    };
    charge(state, journal, price)?;
    state.plan = plan.clone();
    state.subscription = Some(Subscription {
        id: subscription,
        period,
        anchor,
        standing: Standing::Active,
        at_period_end: AtPeriodEnd::Renew,
        deferred: plan.price_usd,
        tokens: carried,
    });
    plan_tokens::grant(state, journal, token_lot, plan.tokens_per_month);
    Ok(OpenedPeriod { plan: plan.id.clone(), period, price_usd: plan.price_usd, granted_tokens: plan.tokens_per_month })
}

/// Refuses terms that can't be charged or granted exactly.
pub(super) fn check_terms(plan: &PlanTerms) -> Result<(), Reason> {
    if plan.price_usd < Usd::ZERO {
        return Err(Reason::AmountNotPositive(plan.price_usd));
    }
    if plan.tokens_per_month.max(plan.rollover_tokens) > MAX_PLAN_TOKENS {
        return Err(Reason::OutOfRange);
    }
    Ok(())
}
