//! Typed ids: a key id can't be passed where an account id is meant.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The name under which ids derived from this one are made (UUIDv5): the same name gives the same id, so
            /// a repeated command is the same event.
            pub fn derive(self, name: &str) -> Uuid {
                Uuid::new_v5(&self.0, name.as_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(s).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": "uuid" })
            }
        }
    };
}

typed_id! {
    /// A customer's account; the `subject` of its events and their record key in the log.
    AccountId
}
typed_id! {
    /// An event of the log. An event id posts at most once, for ever (I5).
    EventId
}
typed_id! {
    /// An API key. Not the secret: that is stored nowhere.
    KeyId
}
typed_id! {
    /// A lot of credit or of plan tokens: one grant, purchase or period's quota, drawn down until it is empty.
    LotId
}
typed_id! {
    /// A payment, derived (UUIDv5) from the provider's own id for it.
    PaymentId
}
typed_id! {
    /// A dispute about a payment, derived (UUIDv5) from the provider's own id for it.
    DisputeId
}
typed_id! {
    /// A subscription to a plan, from its start through every renewal and change to its end.
    SubscriptionId
}
typed_id! {
    /// A slice of an account that one gateway may spend on its own.
    LeaseId
}
typed_id! {
    /// A gateway: the same through all restarts on its data folder.
    GatewayId
}
typed_id! {
    /// One run of a gateway, from its start to its end. A later run has a greater id (`UUIDv7`).
    RunId
}
typed_id! {
    /// One request admitted by a gateway.
    RequestId
}
typed_id! {
    /// An answer that is kept for a repeat: a keyed hash of the client's `Idempotency-Key`.
    AnswerId
}

impl AccountId {
    /// The operator's own account: its stream numbers the invoices of all others. It holds no money and has no keys. The
    /// id is the `UUIDv5` of `urn:modelhub:operator` in the namespace of URLs.
    pub const OPERATOR: Self = Self(Uuid::from_u128(0xe847_f104_55ca_54cc_befc_f5cb_96a3_aafb));
}

impl GatewayId {
    /// Whose leases are that the ledger itself sets a plan's price aside on: no gateway's. The id is the `UUIDv5` of
    /// `urn:modelhub:ledger` in the namespace of URLs.
    pub const LEDGER: Self = Self(Uuid::from_u128(0xe1dc_b609_ee40_594e_8dae_12f1_716d_1962));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_s_account_is_the_id_of_its_name() {
        assert_eq!(AccountId::OPERATOR.0, Uuid::new_v5(&Uuid::NAMESPACE_URL, b"urn:modelhub:operator"));
    }

    #[test]
    fn the_ledger_as_a_gateway_is_the_id_of_its_name() {
        assert_eq!(GatewayId::LEDGER.0, Uuid::new_v5(&Uuid::NAMESPACE_URL, b"urn:modelhub:ledger"));
    }
}
