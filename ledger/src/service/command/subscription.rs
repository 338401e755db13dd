//! Starting, changing and ending subscriptions. Terms come from the catalogue into the event.
//!
//! Who pays is the account's credit, into which every payment goes first: a plan whose price is not covered is refused
//! before anything is written, and so is one whose price running requests were granted already.

use accounting::proration::{self, Quota};
use accounting::{AccountState, Subscription, period};
use schemas::api::{AtPeriodEnd, Done, OutsideId, Refusal, When};
use schemas::catalogue::PlanTerms;
use schemas::event::{
    BillingAnchor, Period, PlanSwitch, SubscriptionCanceledV1, SubscriptionChange, SubscriptionChangedV1,
    SubscriptionStartedV1, UnusedCredit,
};
use schemas::{AccountId, EventData, EventId, LotId, SubscriptionId, Timestamp, Usd};

use super::payment::of_account;
use super::{PAID_PRIORITY, invalid, not_closed, nothing_to_do, reason};
use crate::service::renewals::{self, token_lot};
use crate::service::{Ledger, LedgerError};

impl Ledger {
    pub(super) async fn subscribe(
        &self,
        account: AccountId,
        plan: &str,
        payment: Option<&OutsideId>,
        utc_offset_minutes: i16,
        key: Option<&str>,
    ) -> Result<Done, LedgerError> {
        let subscription_id = SubscriptionId(self.keyed(account, "subscribe", key)?);
        let _turn = self.turn(account).await;
        let id = EventId(subscription_id.derive("started"));
        let is_same =
            |before: &EventData| matches!(before, EventData::SubscriptionStarted(data) if data.plan.id == plan);
        if let Some(done) = self.repeat(id, account, "idempotency_key", is_same).await? {
            return Ok(done);
        }
        let state = self.stored(account).await?.state;
        not_closed(&state)?;
        let terms = self.sold(plan)?;
        if state.subscription.is_some() {
            let detail = format!("the account is subscribed to {} already; use change-plan", state.plan.id);
            return Err(invalid("plan", detail).into());
        }
        let payment_id = payment.map(|payment| of_account(&state, payment)).transpose()?;
        covered(&terms, state.credit())?;
        let anchor = BillingAnchor { at: self.parts.outside.now(), utc_offset_minutes };
        let period = first_period(anchor)?;
        let data = SubscriptionStartedV1 {
            subscription_id,
            plan: terms,
            period,
            anchor,
            token_lot_id: token_lot(subscription_id, period),
            payment_id,
        };
        self.charged(id, account, EventData::SubscriptionStarted(Box::new(data)), "plan").await
    }

    pub(super) async fn change_plan(
        &self,
        account: AccountId,
        plan: &str,
        when: Option<When>,
        payment: Option<&OutsideId>,
        key: Option<&str>,
    ) -> Result<Done, LedgerError> {
        let id = EventId(self.keyed(account, "change-plan", key)?);
        let _turn = self.turn(account).await;
        let is_same = |before: &EventData| match before {
            EventData::SubscriptionChanged(data) => match &data.change {
                SubscriptionChange::AtOnce(switch) => switch.plan.id == plan && when != Some(When::PeriodEnd),
                SubscriptionChange::AtPeriodEnd(terms) => terms.id == plan && when != Some(When::Now),
                SubscriptionChange::StayAsItIs => when != Some(When::Now),
                SubscriptionChange::EndAtPeriodEnd => false,
            },
            _ => false,
        };
        if let Some(done) = self.repeat(id, account, "idempotency_key", is_same).await? {
            return Ok(done);
        }
        let state = self.stored(account).await?.state;
        not_closed(&state)?;
        let live = live(&state)?;
        let terms = self.sold(plan)?;
        let dearer = if terms.price_usd > state.plan.price_usd { When::Now } else { When::PeriodEnd };
        let change = match when.unwrap_or(dearer) {
            When::PeriodEnd if payment.is_some() => {
                return Err(invalid("payment", "is for a change that takes effect now; leave it out").into());
            }
            When::PeriodEnd if terms.id == state.plan.id => match live.at_period_end {
                AtPeriodEnd::Renew => return nothing_to_do(&state),
                AtPeriodEnd::Change { .. } | AtPeriodEnd::End => SubscriptionChange::StayAsItIs,
            },
            When::PeriodEnd => match &live.at_period_end {
                AtPeriodEnd::Change { plan: decided } if decided == plan => return nothing_to_do(&state),
                _ => SubscriptionChange::AtPeriodEnd(terms),
            },
            When::Now if terms.id == state.plan.id => {
                return Err(invalid("plan", format!("the account is on {plan} already")).into());
            }
            When::Now => {
                let payment_id = payment.map(|payment| of_account(&state, payment)).transpose()?;
                let now = self.parts.outside.now();
                let unused = unused(&state, live, now)?;
                covered(&terms, state.credit().and_then(|credit| credit.checked_add(unused)))?;
                let anchor = BillingAnchor { at: now, utc_offset_minutes: live.anchor.utc_offset_minutes };
                let period = first_period(anchor)?;
                SubscriptionChange::AtOnce(Box::new(PlanSwitch {
                    closes: live.period,
                    unused: give_back(live),
                    plan: terms,
                    period,
                    anchor,
                    token_lot_id: token_lot(live.id, period),
                    payment_id,
                }))
            }
        };
        let data = SubscriptionChangedV1 { subscription_id: live.id, change };
        self.charged(id, account, EventData::SubscriptionChanged(Box::new(data)), "plan").await
    }

    pub(super) async fn cancel_subscription(
        &self,
        account: AccountId,
        when: When,
        give_back_unused: bool,
        why: &str,
    ) -> Result<Done, LedgerError> {
        let reason = reason(why)?;
        let _turn = self.turn(account).await;
        let state = self.stored(account).await?.state;
        let live = live(&state)?;
        let (id, data) = match when {
            When::PeriodEnd if give_back_unused => {
                let detail = "nothing is unused at the period's end; end it now, or leave this out";
                return Err(invalid("give_back_unused", detail).into());
            }
            When::PeriodEnd if live.at_period_end == AtPeriodEnd::End => return nothing_to_do(&state),
            When::PeriodEnd => {
                let change = SubscriptionChange::EndAtPeriodEnd;
                let data = SubscriptionChangedV1 { subscription_id: live.id, change };
                (EventId(self.fresh()), EventData::SubscriptionChanged(Box::new(data)))
            }
            When::Now => {
                let data = SubscriptionCanceledV1 {
                    subscription_id: live.id,
                    closes: live.period,
                    at: self.parts.outside.now(),
                    unused: give_back_unused.then(|| give_back(live)),
                    plan_after: self.plan(renewals::PLAN_AFTER)?,
                    reason,
                };
                let id = renewals::event_id(live.id, "canceled", live.period);
                (id, EventData::SubscriptionCanceled(Box::new(data)))
            }
        };
        self.done(id, account, data, "subscription").await
    }

    /// A plan of the catalogue that can be subscribed to.
    fn sold(&self, id: &str) -> Result<PlanTerms, Refusal> {
        let terms = self.plan(id)?;
        if terms.price_usd.is_zero() && terms.tokens_per_month == 0 {
            let detail = format!("`{id}` has no price and no tokens: accounts are on it without a subscription");
            return Err(invalid("plan", detail));
        }
        Ok(terms)
    }
}

fn live(state: &AccountState) -> Result<&Subscription, Refusal> {
    let none = || invalid("subscription", "the account has none; use subscribe");
    state.subscription.as_ref().ok_or_else(none)
}

fn first_period(anchor: BillingAnchor) -> Result<Period, Refusal> {
    let detail = || {
        let most = period::MAX_UTC_OFFSET_MINUTES;
        invalid("utc_offset_minutes", format!("{}; it is from -{most} to {most}", anchor.utc_offset_minutes))
    };
    period::holding(&anchor, anchor.at).ok_or_else(detail)
}

/// How the unused part of the open period comes back.
fn give_back(live: &Subscription) -> UnusedCredit {
    let lot_id = LotId(live.id.derive(&format!("unused:{}", live.period.start)));
    UnusedCredit { price_usd: live.deferred, lot_id, priority: PAID_PRIORITY }
}

/// What comes back of the open period's price where it ends now, as the fold computes it.
fn unused(state: &AccountState, live: &Subscription, now: Timestamp) -> Result<Usd, Refusal> {
    let own = live.tokens.iter().filter(|lot| !lot.rolled_over).map(|lot| lot.remaining).sum();
    let quota = Quota { granted: state.plan.tokens_per_month.max(own), remaining: own };
    let unused = proration::unused(live.deferred, live.period, now, quota);
    unused.map(|unused| unused.price).ok_or_else(|| invalid("plan", "the open period's price is beyond exact money"))
}

fn covered(terms: &PlanTerms, credit: Option<Usd>) -> Result<(), Refusal> {
    let (price_usd, credit_usd) = (terms.price_usd, credit.unwrap_or_default());
    (price_usd <= credit_usd).then_some(()).ok_or(Refusal::CreditTooLow { price_usd, credit_usd })
}
