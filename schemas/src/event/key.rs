//! `key.*` events.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{KeyId, Timestamp, Usd};

/// An API key was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyIssuedV1 {
    /// The key's id, under which usage is grouped and the key is revoked.
    pub key_id: KeyId,
    /// The name its owner gave it.
    pub name: String,
    /// HMAC-SHA256 of the key under the operator's pepper; the key itself is shown once and stored nowhere.
    pub hash: KeyHash,
    /// What its owner may see of it again: its last four characters.
    pub hint: String,
}

/// A live key got another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyUpdatedV1 {
    /// The key.
    pub key_id: KeyId,
    /// The name that it has from now on.
    pub name: String,
}

/// An API key was issued that may not do everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyIssuedV2 {
    /// The key's id, under which usage is grouped and the key is revoked.
    pub key_id: KeyId,
    /// The name its owner gave it.
    pub name: String,
    /// HMAC-SHA256 of the key under the operator's pepper; the key itself is shown once and stored nowhere.
    pub hash: KeyHash,
    /// What its owner may see of it again: its last four characters.
    pub hint: String,
    /// What it may do.
    pub limits: KeyLimits,
}

/// A live key got another name and other limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyUpdatedV2 {
    /// The key.
    pub key_id: KeyId,
    /// The name that it has from now on.
    pub name: String,
    /// What it may do from now on.
    pub limits: KeyLimits,
}

/// What a key may do: everything, where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// The models that it may use, by their ids in the catalogue; all, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<BTreeSet<String>>,
    /// From when on it may do nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The most that it may use in a day (UTC), at list price, whatever pays for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<Usd>,
    /// The most that it may use in a calendar month (UTC), likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_month: Option<Usd>,
}

impl KeyLimits {
    /// Whether it may do everything.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether what it uses has to be counted.
    pub fn of_money(&self) -> bool {
        self.usd_per_day.is_some() || self.usd_per_month.is_some()
    }
}

/// A live key was revoked for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRevokedV1 {
    /// The key.
    pub key_id: KeyId,
    /// For whoever audits.
    pub reason: String,
}

/// HMAC-SHA256 of an API key under the operator's pepper. JSON: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a key hash is 64 hexadecimal digits")]
pub struct NotAKeyHash;

impl FromStr for KeyHash {
    type Err = NotAKeyHash;

    fn from_str(s: &str) -> Result<Self, NotAKeyHash> {
        let digits = s.as_bytes();
        if digits.len() != 64 {
            return Err(NotAKeyHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => return Err(NotAKeyHash),
            }
        }
        Ok(Self(hash))
    }
}

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

impl JsonSchema for KeyHash {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyHash".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_text_round_trips_and_bad_text_is_refused() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<KeyHash>().unwrap().to_string(), text);
        let check = |bad: &str| assert_eq!(bad.parse::<KeyHash>(), Err(NotAKeyHash), "{bad}");
        check("");
        check(&"0".repeat(63));
        check(&"g".repeat(64));
        check(&"é".repeat(32));
    }
}
