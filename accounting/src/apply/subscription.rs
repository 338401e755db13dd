//! `subscription.*` events.

mod close;
mod open;

use schemas::SubscriptionId;
use schemas::api::{AtPeriodEnd, ClosedPeriod, EntryDetail, OpenedPeriod, PlanEntry, PlanEntryKind, Standing};
use schemas::event::{
    Period, PlanSwitch, SubscriptionCanceledV1, SubscriptionChange, SubscriptionChangedV1, SubscriptionPastDueV1,
    SubscriptionRenewedV1, SubscriptionStartedV1,
};

use self::close::{Ending, close};
use self::open::{NewPeriod, check_terms, open};
use super::account;
use crate::journal::Journal;
use crate::{AccountState, Reason, Subscription};

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
    data: &SubscriptionRenewedV1,
) -> Result<EntryDetail, Reason> {
    let ended = end(state, data.subscription_id, data.closes)?;
    let anchor = ended.anchor;
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
