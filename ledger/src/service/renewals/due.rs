//! What the end of a period brings, at a time.
//!
//! A renewal takes the plan's terms as the catalogue has them now; a plan that is no longer sold goes on as it was sold.
//! It needs an account that may use the API, and credit for its price. Where either is missing, the subscription is past
//! due: its period stays open, tokens and all, until it can be renewed or its grace is over.

use accounting::{AccountState, Subscription, period};
use schemas::api::{AccountStatus, AtPeriodEnd, Standing};
use schemas::catalogue::{Catalogue, PlanTerms};
use schemas::event::{SubscriptionCanceledV1, SubscriptionPastDueV1, SubscriptionRenewedV1};
use schemas::{EventData, EventId, Timestamp};

use super::{PLAN_AFTER, event_id, token_lot};

/// How long a plan stays usable that is past due: from when that is recorded, so that a ledger which was away shortens
/// nobody's time.
pub(super) const GRACE_DAYS: i64 = 7;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What follows for a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Not now.
    Nothing,
    /// This event.
    Event { id: EventId, data: Box<EventData> },
    /// A renewal with a plan that the catalogue does not have.
    NotSold { id: EventId, plan: String },
}

pub(super) fn next(state: &AccountState, catalogue: &Catalogue, now: Timestamp) -> Next {
    let Some(live) = state.subscription.as_ref().filter(|live| live.period.end <= now) else { return Next::Nothing };
    let terms = match &live.at_period_end {
        _ if state.closed => return end(state, live, catalogue, live.period.end, "the account is closed"),
        AtPeriodEnd::End => return end(state, live, catalogue, live.period.end, "ended with its period"),
        AtPeriodEnd::Renew => catalogue.plans.get(&state.plan.id).unwrap_or(&state.plan),
        AtPeriodEnd::Change { plan } => match catalogue.plans.get(plan) {
            Some(terms) => terms,
            None => return Next::NotSold { id: event_id(live.id, "renewed", live.period), plan: plan.clone() },
        },
    };
    let covered = state.credit().is_some_and(|credit| terms.price_usd <= credit);
    if covered && state.status() == AccountStatus::Active {
        return renew(live, terms);
    }
    match live.standing {
        Standing::Active => past_due(live, terms, now),
        Standing::PastDue { grace_until } if grace_until <= now => end(state, live, catalogue, now, "not paid"),
        Standing::PastDue { .. } => Next::Nothing,
    }
}

fn renew(live: &Subscription, terms: &PlanTerms) -> Next {
    // At the calendar's end there is no next period.
    let Some(period) = period::next(&live.anchor, live.period) else { return Next::Nothing };
    let data = SubscriptionRenewedV1 {
        subscription_id: live.id,
        closes: live.period,
        plan: terms.clone(),
        period,
        token_lot_id: token_lot(live.id, period),
        payment_id: None,
    };
    event(live, "renewed", EventData::SubscriptionRenewed(Box::new(data)))
}

fn past_due(live: &Subscription, terms: &PlanTerms, now: Timestamp) -> Next {
    let grace_until = Timestamp::from_micros(now.as_micros().saturating_add(GRACE_DAYS * MICROS_PER_DAY));
    let data =
        SubscriptionPastDueV1 { subscription_id: live.id, period: live.period, due_usd: terms.price_usd, grace_until };
    event(live, "past_due", EventData::SubscriptionPastDue(data))
}

/// An operator may leave the plan without subscription out of the catalogue; then the account keeps the limits it had, and
/// none of the tokens.
fn end(state: &AccountState, live: &Subscription, catalogue: &Catalogue, at: Timestamp, reason: &str) -> Next {
    let data = SubscriptionCanceledV1 {
        subscription_id: live.id,
        closes: live.period,
        at,
        unused: None,
        plan_after: catalogue.plans.get(PLAN_AFTER).unwrap_or(&state.plan).clone(),
        reason: reason.to_owned(),
    };
    event(live, "canceled", EventData::SubscriptionCanceled(Box::new(data)))
}

fn event(live: &Subscription, what: &str, data: EventData) -> Next {
    Next::Event { id: event_id(live.id, what, live.period), data: Box::new(data) }
}
