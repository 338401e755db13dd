//! What a plan's price takes of an account, and how it is set aside before the event that charges it is appended.
//!
//! Credit that gateways were granted is not there for it: whatever runs on a lease may still be charged.

use schemas::Usd;
use schemas::api::Funds;
use schemas::event::{PlanSwitch, SubscriptionChange};
use schemas::{EventData, SubscriptionId};

use super::{Lease, Pool};
use crate::AccountState;
use crate::proration::{self, Quota};

/// The plan's price that an event charges when it posts; `None` where it charges none.
pub fn price(data: &EventData) -> Option<Usd> {
    let price = match data {
        EventData::SubscriptionStarted(data) => data.plan.price_usd,
        EventData::SubscriptionRenewed(data) => data.plan.price_usd,
        EventData::SubscriptionChanged(data) => match &data.change {
            SubscriptionChange::AtOnce(switch) => switch.plan.price_usd,
            SubscriptionChange::AtPeriodEnd(_)
            | SubscriptionChange::EndAtPeriodEnd
            | SubscriptionChange::StayAsItIs => return None,
        },
        _ => return None,
    };
    price.is_positive().then_some(price)
}

/// Whether an event charges the less, the more plan tokens are left when it posts.
pub fn tokens_count(data: &EventData) -> bool {
    matches!(data, EventData::SubscriptionChanged(data) if matches!(data.change, SubscriptionChange::AtOnce(_)))
}

/// The most that an event takes of an account's credit for a plan's price, where no more plan tokens are used before it
/// posts than `tokens_reserved`; `None` where it charges none.
///
/// What comes back of the period that it closes pays first, as far as it does not settle a debt.
pub fn due(state: &AccountState, data: &EventData, tokens_reserved: u64) -> Option<Usd> {
    let price = price(data)?;
    let back = match data {
        EventData::SubscriptionChanged(data) => match &data.change {
            SubscriptionChange::AtOnce(switch) => back(state, data.subscription_id, switch, tokens_reserved),
            _ => Usd::ZERO,
        },
        _ => Usd::ZERO,
    };
    let pays = back.checked_sub(state.debt).unwrap_or_default().max(Usd::ZERO);
    price.checked_sub(pays).map(|due| due.max(Usd::ZERO))
}

/// What comes back of the open period: the less, the more of its tokens are used.
fn back(state: &AccountState, subscription: SubscriptionId, switch: &PlanSwitch, tokens_reserved: u64) -> Usd {
    let live = state.subscription.as_ref().filter(|live| live.id == subscription && live.period == switch.closes);
    let Some(live) = live else { return Usd::ZERO };
    let own: u64 = live.tokens.iter().filter(|lot| !lot.rolled_over).map(|lot| lot.remaining).sum();
    let quota = Quota { granted: state.plan.tokens_per_month, remaining: own.saturating_sub(tokens_reserved) };
    let unused = proration::unused(live.deferred, live.period, switch.period.start, quota);
    unused.map(|unused| unused.price).unwrap_or_default()
}

/// The lease that sets `due` aside, all of it or nothing: a closed one, of which all is spent and waits to post. `own` is what
/// the same event set aside before.
///
/// Where `tokens_count`, all plan tokens that are left go with it: used by a request, they would lessen what comes back.
pub fn set_aside(pool: &Pool, own: Option<&Lease>, due: Usd, tokens_count: bool) -> Option<Lease> {
    let free = pool.funds.less(pool.reserved_elsewhere);
    let before = own.copied().unwrap_or_default();
    if free.usd < due {
        return None;
    }
    let plan_tokens = if tokens_count { free.plan_tokens } else { 0 };
    let granted = Funds { usd: due, plan_tokens }.max(before.granted.min(free));
    Some(Lease { seq: before.seq, granted, spent: granted, posted: before.posted, closed: true })
}
