//! The events of the log: CloudEvents 1.0, JSON, structured mode. `subject` is the account and the record key, so one
//! account's events are totally ordered.
//!
//! A schema version is never changed once published: a change is a new version with a new variant, and the golden files
//! in `schemas/golden/` must decode for ever.

mod account;
mod codec;
mod credit;
mod envelope;
mod invoice;
mod key;
mod payment;
mod subscription;
mod types;
mod usage;
mod verbatim;

pub use account::{AccountClosedV1, AccountOpenedV1, AccountReinstatedV1, AccountSuspendedV1};
pub use codec::DecodeError;
pub use credit::{CreditAdjustedV1, CreditChange, CreditGrantedV1, CreditGrantedV2, CreditSource};
pub use invoice::InvoiceIssuedV1;
pub use key::{KeyHash, KeyIssuedV1, KeyIssuedV2, KeyLimits, KeyRevokedV1, KeyUpdatedV1, KeyUpdatedV2};
pub use payment::{
    DisputeOutcome, PaymentDisputeClosedV1, PaymentDisputedV1, PaymentFailedV1, PaymentRefundedV1, PaymentSucceededV1,
};
pub use subscription::{
    BillingAnchor, Period, PlanSwitch, SubscriptionCanceledV1, SubscriptionChange, SubscriptionChangedV1,
    SubscriptionPastDueV1, SubscriptionRenewedV1, SubscriptionStartedV1, UnusedCredit,
};
pub use types::EventData;
pub(crate) use types::schemas;
pub use usage::{
    Accuracy, Funding, OUTCOME_POLICY, Outcome, Usage, UsageCharge, UsageCorrectedV1, UsageRecordedV1, UsageRecordedV2,
};

use crate::{AccountId, EventId, Timestamp};

/// An immutable billable fact, or a command's result, about one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Globally unique; UUIDv7, or UUIDv5 of the outside id where one exists, so a repeat is the same event.
    pub id: EventId,
    /// Who wrote it, as a URI reference: `/modelhub/gateway/<instance>`.
    pub source: String,
    /// The account it is about.
    pub subject: AccountId,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    pub data: EventData,
}
