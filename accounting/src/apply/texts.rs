//! The free texts that stores keep.

use schemas::EventData;
use schemas::event::{KeyLimits, SubscriptionChange};

use crate::Reason;

/// Refuses a text that not every store can keep.
pub(super) fn check(data: &EventData) -> Result<(), Reason> {
    match data {
        EventData::AccountOpened(data) => keepable("plan.id", &data.plan.id),
        EventData::AccountSuspended(data) => keepable("reason", &data.reason),
        EventData::AccountReinstated(data) => keepable("reason", &data.reason),
        EventData::AccountClosed(data) => keepable("reason", &data.reason),
        EventData::KeyIssued(data) => keepable("name", &data.name).and_then(|()| keepable("hint", &data.hint)),
        EventData::KeyIssuedV2(data) => {
            keepable("name", &data.name).and_then(|()| keepable("hint", &data.hint)).and_then(|()| limits(&data.limits))
        }
        EventData::KeyUpdated(data) => keepable("name", &data.name),
        EventData::KeyUpdatedV2(data) => keepable("name", &data.name).and_then(|()| limits(&data.limits)),
        EventData::KeyRevoked(data) => keepable("reason", &data.reason),
        EventData::CreditGranted(data) => keepable("reason", &data.reason),
        EventData::CreditGrantedV2(data) => keepable("reason", &data.reason),
        EventData::CreditAdjusted(data) => keepable("reason", &data.reason),
        EventData::UsageRecorded(data) => usage(&data.model, &data.upstream),
        EventData::UsageRecordedV2(data) => usage(&data.model, &data.upstream),
        EventData::UsageCorrected(data) => {
            keepable("model", &data.model).and_then(|()| keepable("reason", &data.reason))
        }
        EventData::PaymentSucceeded(data) => keepable("processor", &data.processor),
        EventData::PaymentFailed(data) => payment(&data.processor, &data.reason),
        EventData::PaymentRefunded(data) => payment(&data.processor, &data.reason),
        EventData::PaymentDisputed(data) => payment(&data.processor, &data.reason),
        EventData::PaymentDisputeClosed(_) | EventData::SubscriptionPastDue(_) | EventData::InvoiceIssued(_) => Ok(()),
        EventData::SubscriptionStarted(data) => keepable("plan.id", &data.plan.id),
        EventData::SubscriptionChanged(data) => match &data.change {
            SubscriptionChange::AtOnce(switch) => keepable("plan.id", &switch.plan.id),
            SubscriptionChange::AtPeriodEnd(plan) => keepable("plan.id", &plan.id),
            SubscriptionChange::EndAtPeriodEnd | SubscriptionChange::StayAsItIs => Ok(()),
        },
        EventData::SubscriptionRenewed(data) => keepable("plan.id", &data.plan.id),
        EventData::SubscriptionCanceled(data) => {
            keepable("plan_after.id", &data.plan_after.id).and_then(|()| keepable("reason", &data.reason))
        }
    }
}

fn limits(limits: &KeyLimits) -> Result<(), Reason> {
    limits.models.iter().flatten().try_for_each(|model| keepable("limits.models", model))
}

fn usage(model: &str, upstream: &str) -> Result<(), Reason> {
    keepable("model", model).and_then(|()| keepable("upstream", upstream))
}

fn payment(processor: &str, reason: &str) -> Result<(), Reason> {
    keepable("processor", processor).and_then(|()| keepable("reason", reason))
}

fn keepable(field: &'static str, text: &str) -> Result<(), Reason> {
    if text.as_bytes().contains(&0) { Err(Reason::NulCharacter { field }) } else { Ok(()) }
}
