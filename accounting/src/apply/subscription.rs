//! `subscription.*` events.

mod close;
mod open;

use schemas::api::{AtPeriodEnd, ClosedPeriod, EntryDetail, OpenedPeriod, PlanEntry, PlanEntryKind, Standing};
use schemas::event::{
    Period, PlanSwitch, SubscriptionCanceledV1, SubscriptionChange, SubscriptionChangedV1, SubscriptionPastDueV1,
    SubscriptionRenewedV1, SubscriptionStartedV1,
};
use schemas::{SubscriptionId, Timestamp};

use self::close::{Ending, close};
use self::open::{NewPeriod, check_terms, open};
use super::account;
use crate::journal::Journal;
use crate::{AccountState, Reason, Subscription};

/// How far a stated moment may be off: clocks are skewed, but a scheduler that fires twice must not renew a period that has
/// hardly begun, and nobody gets more back of a period than there was of it.
const TOLERANCE_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Whether `at` is before `limit`, and no skewed clock explains it.
fn is_long_before(at: Timestamp, limit: Timestamp) -> bool {
    at.as_micros().saturating_add(TOLERANCE_MICROS) < limit.as_micros()
}

pub(super) fn started(
    state: &mut AccountState,
    journal: &mut Journal,
    data: &SubscriptionStartedV1,
) -> Result<EntryDetail, Reason> {
    account::open(state)?;
    if let Some(live) = &state.subscription {
        return Err(Reason::SubscriptionExists(live.id));
    }
    let first = NewPeriod {
        subscription: data.subscription_id,
        plan: &data.plan,
        period: data.period,
        anchor: data.anchor,
        token_lot: data.token_lot_id,
        payment: data.payment_id,
        carried: Vec::new(),
    };
    let opened = open(state, journal, first)?;
    Ok(entry(data.subscription_id, PlanEntryKind::Started, None, Some(opened)))
}

pub(super) fn renewed(
    state: &mut AccountState,
    journal: &mut Journal,
    at: Timestamp,
    data: &SubscriptionRenewedV1,
) -> Result<EntryDetail, Reason> {
    account::open(state)?;
    let ended = end(state, data.subscription_id, data.closes)?;
    let anchor = ended.anchor;
    let as_decided = match &ended.at_period_end {
        AtPeriodEnd::Renew => true,
        AtPeriodEnd::Change { plan } => *plan == data.plan.id,
        AtPeriodEnd::End => false,
    };
    if !as_decided {
        return Err(Reason::DecidedOtherwise(ended.at_period_end));
    }
    if is_long_before(at, data.closes.end) {
        return Err(Reason::TooEarly { period: data.closes, at });
    }
    if data.period.start != data.closes.end {
        return Err(Reason::InvalidPeriod(data.period));
    }
    let (closed, carried) = close(state, journal, ended, Ending::Renewal)?;
    let next = NewPeriod {
        subscription: data.subscription_id,
        plan: &data.plan,
        period: data.period,
        anchor,
        token_lot: data.token_lot_id,
        payment: data.payment_id,
        carried,
    };
    let opened = open(state, journal, next)?;
    Ok(entry(data.subscription_id, PlanEntryKind::Renewed, Some(closed), Some(opened)))
}

/// Only a change at once concerns money; one for the period's end is remembered until then.
pub(super) fn changed(
    state: &mut AccountState,
    journal: &mut Journal,
    data: &SubscriptionChangedV1,
) -> Result<Option<EntryDetail>, Reason> {
    account::open(state)?;
    let at_period_end = match &data.change {
        SubscriptionChange::AtOnce(switch) => return switched(state, journal, data.subscription_id, switch).map(Some),
        SubscriptionChange::AtPeriodEnd(plan) => {
            check_terms(plan)?;
            AtPeriodEnd::Change { plan: plan.id.clone() }
        }
        SubscriptionChange::EndAtPeriodEnd => AtPeriodEnd::End,
        SubscriptionChange::StayAsItIs => AtPeriodEnd::Renew,
    };
    live(state, data.subscription_id)?.at_period_end = at_period_end;
    Ok(None)
}

fn switched(
    state: &mut AccountState,
    journal: &mut Journal,
    subscription: SubscriptionId,
    switch: &PlanSwitch,
) -> Result<EntryDetail, Reason> {
    let ended = end(state, subscription, switch.closes)?;
    if is_long_before(switch.period.start, ended.period.start) {
        return Err(Reason::InvalidPeriod(switch.period));
    }
    let ending = Ending::Switch { at: switch.period.start, unused: switch.unused };
    let (closed, carried) = close(state, journal, ended, ending)?;
    let next = NewPeriod {
        subscription,
        plan: &switch.plan,
        period: switch.period,
        anchor: switch.anchor,
        token_lot: switch.token_lot_id,
        payment: switch.payment_id,
        carried,
    };
    let opened = open(state, journal, next)?;
    Ok(entry(subscription, PlanEntryKind::Changed, Some(closed), Some(opened)))
}

/// The period stays open, tokens and all, until its closing event comes: a renewal or the end.
pub(super) fn past_due(state: &mut AccountState, data: &SubscriptionPastDueV1) -> Result<(), Reason> {
    let subscription = live(state, data.subscription_id)?;
    is_open(subscription, data.period)?;
    subscription.standing = Standing::PastDue { grace_until: data.grace_until };
    Ok(())
}

pub(super) fn canceled(
    state: &mut AccountState,
    journal: &mut Journal,
    data: &SubscriptionCanceledV1,
) -> Result<EntryDetail, Reason> {
    let ended = end(state, data.subscription_id, data.closes)?;
    if is_long_before(data.at, ended.period.start) {
        return Err(Reason::InvalidPeriod(Period { start: data.at, end: data.closes.end }));
    }
    let (closed, _) = close(state, journal, ended, Ending::End { at: data.at, unused: data.unused })?;
    state.plan = data.plan_after.clone();
    Ok(entry(data.subscription_id, PlanEntryKind::Canceled, Some(closed), None))
}

/// The live subscription, if it is this one.
fn live(state: &mut AccountState, id: SubscriptionId) -> Result<&mut Subscription, Reason> {
    state.subscription.as_mut().filter(|live| live.id == id).ok_or(Reason::UnknownSubscription(id))
}

/// Refuses a period that is not the open one.
fn is_open(subscription: &Subscription, stated: Period) -> Result<(), Reason> {
    let open = subscription.period;
    if stated == open { Ok(()) } else { Err(Reason::OtherPeriod { stated, open }) }
}

/// Takes the live subscription off the account, if it is this one and this is its open period.
fn end(state: &mut AccountState, id: SubscriptionId, closes: Period) -> Result<Subscription, Reason> {
    is_open(live(state, id)?, closes)?;
    state.subscription.take().ok_or(Reason::UnknownSubscription(id))
}

fn entry(
    subscription_id: SubscriptionId,
    kind: PlanEntryKind,
    closed: Option<ClosedPeriod>,
    opened: Option<OpenedPeriod>,
) -> EntryDetail {
    EntryDetail::Plan(Box::new(PlanEntry { subscription_id, kind, closed, opened }))
}
