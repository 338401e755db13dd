//! `apply(state, event) → outcome`: the one place where an event changes an account.

mod account;
mod correction;
mod credit;
mod dispute;
mod funds;
mod invoice;
mod key;
mod payment;
mod plan_tokens;
mod subscription;
mod texts;
mod usage;

use std::collections::BTreeMap;

use schemas::api::EntryDetail;
use schemas::{AccountId, Event, EventData, Offset, Usd};

use crate::journal::Journal;
use crate::{AccountState, Outcome, Posting, Reason};

/// Applies an event whose id was not posted before to the account it is about. Where the outcome is
/// [`Outcome::Quarantined`], `accounts` are as they were.
pub(crate) fn apply(accounts: &mut BTreeMap<AccountId, AccountState>, event: &Event, offset: Offset) -> Outcome {
    match change(accounts, event, offset) {
        Ok(posting) => Outcome::Applied(posting),
        Err(reason) => Outcome::Quarantined(reason),
    }
}

fn change(accounts: &mut BTreeMap<AccountId, AccountState>, event: &Event, offset: Offset) -> Result<Posting, Reason> {
    texts::check(&event.data)?;
    invoice::check_subject(event)?;
    let Some(state) = accounts.get_mut(&event.subject) else {
        let EventData::AccountOpened(data) = &event.data else { return Err(Reason::UnknownAccount) };
        accounts.insert(event.subject, account::opened(event, data, offset));
        return Ok(Posting { transfers: vec![], amount: Usd::ZERO, balance: Usd::ZERO, detail: None, invoice: None });
    };
    // Nearly all events are usage, so that one works in place: it checks everything before it changes anything.
    if let Some(usage) = event.data.usage() {
        let posting = usage::recorded(state, &usage)?;
        key::used(state, &usage, event.time);
        state.version = offset;
        return Ok(posting);
    }
    if let EventData::InvoiceIssued(data) = &event.data {
        let posting = invoice::issued(state, event, data)?;
        state.version = offset;
        return Ok(posting);
    }
    // All others work on a copy, which becomes the state only where nothing of it was refused.
    let mut after = state.clone();
    let mut journal = Journal::default();
    let detail = step(&mut after, &mut journal, event)?;
    after.version = offset;
    let before = state.balance().ok_or(Reason::OutOfRange)?;
    let balance = after.balance().filter(|balance| balance.in_range()).ok_or(Reason::OutOfRange)?;
    let amount = balance.checked_sub(before).ok_or(Reason::OutOfRange)?;
    *state = after;
    Ok(Posting { transfers: journal.into_transfers(), amount, balance, detail, invoice: None })
}

/// What an event does; the statement's entry, where it concerns money or plan tokens.
fn step(state: &mut AccountState, journal: &mut Journal, event: &Event) -> Result<Option<EntryDetail>, Reason> {
    match &event.data {
        EventData::AccountOpened(_) => Err(Reason::AlreadyOpen),
        EventData::AccountSuspended(_) => account::suspended(state).map(|()| None),
        EventData::AccountReinstated(_) => account::reinstated(state).map(|()| None),
        EventData::AccountClosed(_) => account::closed(state).map(|()| None),
        EventData::KeyIssued(data) => key::issued(state, data.key_id, key::new(data)).map(|()| None),
        EventData::KeyIssuedV2(data) => key::issued(state, data.key_id, key::limited(data)).map(|()| None),
        EventData::KeyUpdated(data) => key::updated(state, data.key_id, &data.name, None).map(|()| None),
        EventData::KeyUpdatedV2(data) => {
            key::updated(state, data.key_id, &data.name, Some(&data.limits)).map(|()| None)
        }
        EventData::KeyRevoked(data) => key::revoked(state, data).map(|()| None),
        EventData::CreditGranted(data) => credit::granted(state, journal, &data.into()).map(Some),
        EventData::CreditGrantedV2(data) => credit::granted(state, journal, &data.into()).map(Some),
        EventData::CreditAdjusted(data) => credit::adjusted(state, journal, event.time, data),
        // Handled in place.
        EventData::UsageRecorded(_) | EventData::UsageRecordedV2(_) => Err(Reason::InconsistentTokens),
        EventData::InvoiceIssued(_) => Err(Reason::NotTheOperator),
        EventData::UsageCorrected(data) => correction::corrected(state, journal, data).map(Some),
        EventData::PaymentSucceeded(data) => payment::succeeded(state, journal, data).map(Some),
        EventData::PaymentFailed(data) => payment::failed(data).map(|()| None),
        EventData::PaymentRefunded(data) => payment::refunded(state, journal, data).map(Some),
        EventData::PaymentDisputed(data) => dispute::opened(state, journal, data).map(Some),
        EventData::PaymentDisputeClosed(data) => dispute::closed(state, journal, data).map(Some),
        EventData::SubscriptionStarted(data) => subscription::started(state, journal, data).map(Some),
        EventData::SubscriptionChanged(data) => subscription::changed(state, journal, data),
        EventData::SubscriptionRenewed(data) => subscription::renewed(state, journal, event.time, data).map(Some),
        EventData::SubscriptionPastDue(data) => subscription::past_due(state, data).map(|()| None),
        EventData::SubscriptionCanceled(data) => subscription::canceled(state, journal, data).map(Some),
    }
}
