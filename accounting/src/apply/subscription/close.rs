//! Closing a period: its price is earned but for what comes back, and its tokens carry over or lapse.

use schemas::api::{ClosedPeriod, LotSource};
use schemas::event::UnusedCredit;
use schemas::{Timestamp, Usd};

use crate::apply::funds::{NewLot, fund};
use crate::apply::plan_tokens::lapse;
use crate::journal::Journal;
use crate::proration::{self, Quota, Unused};
use crate::{AccountState, Code, LedgerAccount, Reason, Subscription, TokenLot};

/// How a period ends.
#[derive(Clone, Copy)]
pub(super) enum Ending {
    /// The next one follows. Own tokens carry over, up to the plan's cap; what carried over into this one lapses.
    Renewal,
    /// Another plan takes over. The unused part of the price comes back and its tokens go; all others carry over, up to
    /// the plan's cap, so that nobody loses tokens by upgrading.
    Switch {
        /// The moment.
        at: Timestamp,
        /// How the unused part comes back.
        unused: UnusedCredit,
    },
    /// Nothing follows: all tokens lapse.
    End {
        /// The moment.
        at: Timestamp,
        /// How the unused part of the price comes back, where it does.
        unused: Option<UnusedCredit>,
    },
}

/// Closes the open period of a subscription that was taken off its account. Returns what carries over.
pub(super) fn close(
    state: &mut AccountState,
    journal: &mut Journal,
    subscription: Subscription,
    ending: Ending,
) -> Result<(ClosedPeriod, Vec<TokenLot>), Reason> {
    let unused = match ending {
        Ending::Renewal | Ending::End { unused: None, .. } => Unused { price: Usd::ZERO, tokens: 0 },
        Ending::Switch { at, unused } | Ending::End { at, unused: Some(unused) } => {
            give_back(state, journal, &subscription, at, unused)?
        }
    };
    let earned = subscription.deferred.checked_sub(unused.price).ok_or(Reason::OutOfRange)?;
    let deferred = LedgerAccount::DeferredPlanRevenue(state.id);
    journal.usd(deferred, LedgerAccount::PlanRevenue(state.plan.id.as_str().into()), earned, Code::PlanEarned, None);

    let held = subscription.tokens_left();
    let carried = carry(state, journal, subscription.tokens, ending, unused.tokens);
    let carried_tokens = carried.iter().map(|lot| lot.remaining).sum();
    let closed = ClosedPeriod {
        plan: state.plan.id.clone(),
        period: subscription.period,
        unused_usd: unused.price,
        carried_tokens,
        lapsed_tokens: held - carried_tokens,
    };
    Ok((closed, carried))
}

/// The unused part of the price becomes a credit lot.
fn give_back(
    state: &mut AccountState,
    journal: &mut Journal,
    subscription: &Subscription,
    at: Timestamp,
    credit: UnusedCredit,
) -> Result<Unused, Reason> {
    let charged = subscription.deferred;
    if credit.price_usd != charged {
        return Err(Reason::PriceMismatch { stated: credit.price_usd, charged });
    }
    let own = subscription.tokens.iter().filter(|lot| !lot.rolled_over).map(|lot| lot.remaining).sum();
    let quota = Quota { granted: state.plan.tokens_per_month, remaining: own };
    let unused = proration::unused(charged, subscription.period, at, quota).ok_or(Reason::OutOfRange)?;
    if unused.price.is_positive() {
        let lot = NewLot {
            id: credit.lot_id,
            source: LotSource::UnusedPlan,
            amount: unused.price,
            priority: credit.priority,
            expires_at: None,
        };
        fund(state, journal, LedgerAccount::DeferredPlanRevenue(state.id), Code::PlanUnused, lot)?;
    }
    Ok(unused)
}

/// What of the lots carries over; the rest lapses. `with_credit` own tokens go with the money that came back.
fn carry(
    state: &AccountState,
    journal: &mut Journal,
    mut lots: Vec<TokenLot>,
    ending: Ending,
    with_credit: u64,
) -> Vec<TokenLot> {
    for lot in &mut lots {
        let gone = match (ending, lot.rolled_over) {
            (Ending::End { .. }, _) | (Ending::Renewal, true) => lot.remaining,
            (Ending::Renewal, false) | (Ending::Switch { .. }, true) => 0,
            (Ending::Switch { .. }, false) => with_credit,
        };
        lapse(state, journal, lot, gone);
    }
    let left = lots.iter().map(|lot| lot.remaining).sum::<u64>();
    let mut beyond_cap = left.saturating_sub(state.plan.rollover_tokens);
    for lot in &mut lots {
        beyond_cap -= lapse(state, journal, lot, beyond_cap);
    }
    let carried = lots.into_iter().filter(|lot| lot.remaining > 0);
    carried.map(|lot| TokenLot { rolled_over: true, ..lot }).collect()
}
