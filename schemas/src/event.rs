//! The events of the log: CloudEvents 1.0, JSON, structured mode. `subject` is the account and the record key, so one
//! account's events are totally ordered.
//!
//! A schema version is never changed once published: a change is a new version with a new variant, and the golden files
//! in `schemas/golden/` must decode for ever.

mod account;
mod codec;
mod credit;
mod key;
mod usage;

pub use account::AccountOpenedV1;
pub use codec::DecodeError;
pub use credit::{CreditGrantedV1, CreditSource};
pub use key::{KeyHash, KeyIssuedV1};
pub use usage::{Accuracy, OUTCOME_POLICY, Outcome, UsageRecordedV1};

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

/// What happened, by event type and schema version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventData {
    /// `account.opened` v1
    AccountOpened(AccountOpenedV1),
    /// `key.issued` v1
    KeyIssued(KeyIssuedV1),
    /// `credit.granted` v1
    CreditGranted(CreditGrantedV1),
    /// `usage.recorded` v1
    UsageRecorded(Box<UsageRecordedV1>),
}
