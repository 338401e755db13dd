//! Every event type and version, in one table: the variants, their names on the wire, and their JSON Schemas.

use schemars::{Schema, schema_for};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::codec::{DecodeError, data};
use super::{
    AccountClosedV1, AccountOpenedV1, AccountReinstatedV1, AccountSuspendedV1, CreditAdjustedV1, CreditGrantedV1,
    CreditGrantedV2, InvoiceIssuedV1, KeyIssuedV1, KeyIssuedV2, KeyRevokedV1, KeyUpdatedV1, KeyUpdatedV2,
    PaymentDisputeClosedV1, PaymentDisputedV1, PaymentFailedV1, PaymentRefundedV1, PaymentSucceededV1,
    SubscriptionCanceledV1, SubscriptionChangedV1, SubscriptionPastDueV1, SubscriptionRenewedV1, SubscriptionStartedV1,
    Usage, UsageCorrectedV1, UsageRecordedV1, UsageRecordedV2,
};

macro_rules! event_types {
    ($($variant:ident($held:ty: $data:ty) = $type:literal, $version:literal;)*) => {
        /// What happened, by event type and schema version.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum EventData {
            $(
                #[doc = concat!("`", $type, "` v", $version)]
                $variant($held),
            )*
        }

        impl EventData {
            /// The event type and its schema's version, as in CloudEvents' `type` and `dataschema`.
            pub(super) fn schema(&self) -> (&'static str, u32) {
                match self {
                    $(Self::$variant(_) => ($type, $version),)*
                }
            }

            /// The same as [`EventData::decode`], straight from what is being read. Its errors say little.
            pub(super) fn deserialize_as<'de, D: Deserializer<'de>>(
                r#type: &str,
                schema: &str,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                $(
                    if schema == concat!($type, ":v", $version) && r#type == $type {
                        return <$held>::deserialize(deserializer).map(Self::$variant);
                    }
                )*
                Err(D::Error::custom("unknown"))
            }

            /// `data` of an event of `type` under `schema`, such as `key.issued:v1`.
            pub(super) fn decode(r#type: &str, schema: &str, raw: &RawValue) -> Result<Self, DecodeError> {
                $(
                    if schema == concat!($type, ":v", $version) && r#type == $type {
                        return data(schema, raw).map(Self::$variant);
                    }
                )*
                Err(DecodeError::Unknown(format!("{type} ({schema})")))
            }
        }

        impl Serialize for EventData {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(data) => data.serialize(serializer),)*
                }
            }
        }

        /// File name and schema of every event type and version.
        pub(crate) fn schemas() -> Vec<(&'static str, Schema)> {
            vec![$((concat!($type, ".v", $version, ".json"), schema_for!($data)),)*]
        }
    };
}

// The commonest first: decoding looks from the top.
event_types! {
    UsageRecordedV2(Box<UsageRecordedV2>: UsageRecordedV2) = "usage.recorded", 2;
    UsageRecorded(Box<UsageRecordedV1>: UsageRecordedV1) = "usage.recorded", 1;
    UsageCorrected(Box<UsageCorrectedV1>: UsageCorrectedV1) = "usage.corrected", 1;
    AccountOpened(AccountOpenedV1: AccountOpenedV1) = "account.opened", 1;
    AccountSuspended(AccountSuspendedV1: AccountSuspendedV1) = "account.suspended", 1;
    AccountReinstated(AccountReinstatedV1: AccountReinstatedV1) = "account.reinstated", 1;
    AccountClosed(AccountClosedV1: AccountClosedV1) = "account.closed", 1;
    KeyIssued(KeyIssuedV1: KeyIssuedV1) = "key.issued", 1;
    KeyIssuedV2(Box<KeyIssuedV2>: KeyIssuedV2) = "key.issued", 2;
    KeyUpdated(KeyUpdatedV1: KeyUpdatedV1) = "key.updated", 1;
    KeyUpdatedV2(Box<KeyUpdatedV2>: KeyUpdatedV2) = "key.updated", 2;
    KeyRevoked(KeyRevokedV1: KeyRevokedV1) = "key.revoked", 1;
    CreditGranted(CreditGrantedV1: CreditGrantedV1) = "credit.granted", 1;
    CreditGrantedV2(CreditGrantedV2: CreditGrantedV2) = "credit.granted", 2;
    CreditAdjusted(CreditAdjustedV1: CreditAdjustedV1) = "credit.adjusted", 1;
    PaymentSucceeded(PaymentSucceededV1: PaymentSucceededV1) = "payment.succeeded", 1;
    PaymentFailed(PaymentFailedV1: PaymentFailedV1) = "payment.failed", 1;
    PaymentRefunded(PaymentRefundedV1: PaymentRefundedV1) = "payment.refunded", 1;
    PaymentDisputed(PaymentDisputedV1: PaymentDisputedV1) = "payment.disputed", 1;
    PaymentDisputeClosed(PaymentDisputeClosedV1: PaymentDisputeClosedV1) = "payment.dispute_closed", 1;
    SubscriptionStarted(Box<SubscriptionStartedV1>: SubscriptionStartedV1) = "subscription.started", 1;
    SubscriptionChanged(Box<SubscriptionChangedV1>: SubscriptionChangedV1) = "subscription.changed", 1;
    SubscriptionRenewed(Box<SubscriptionRenewedV1>: SubscriptionRenewedV1) = "subscription.renewed", 1;
    SubscriptionPastDue(SubscriptionPastDueV1: SubscriptionPastDueV1) = "subscription.past_due", 1;
    SubscriptionCanceled(Box<SubscriptionCanceledV1>: SubscriptionCanceledV1) = "subscription.canceled", 1;
    InvoiceIssued(InvoiceIssuedV1: InvoiceIssuedV1) = "invoice.issued", 1;
}

impl EventData {
    /// The event type, as in CloudEvents' `type`.
    pub fn event_type(&self) -> &'static str {
        self.schema().0
    }

    /// The one terminal fact of a request, whichever version says it; none for every other type.
    pub fn usage(&self) -> Option<Usage<'_>> {
        match self {
            Self::UsageRecorded(data) => Some(data.usage()),
            Self::UsageRecordedV2(data) => Some(data.usage()),
            _ => None,
        }
    }
}
