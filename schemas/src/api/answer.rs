//! Answers that are kept for whoever repeats a request under the same `Idempotency-Key`.
//!
//! A request claims its answer before it runs, holds the claim while it does, and ends it with what became of it. Who keeps
//! answers can read neither them nor the keys: ids and fingerprints are keyed hashes, and answers are sealed, all under the
//! client's own API key, which is stored nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{AccountId, AnswerId, RequestId};

/// Asks for an answer, and for the right to make it where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimAnswer {
    /// Which answer.
    pub answer_id: AnswerId,
    /// The account that it counts against.
    pub account_id: AccountId,
    /// Of the request's body: another one under the same key is another request.
    pub fingerprint: Uuid,
    /// Who asks: this request, whatever it repeats.
    pub holder: RequestId,
    /// For how long nobody else may make it, unless the claim is held on to, in milliseconds.
    pub hold_ms: u32,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Claimed {
    /// The one who asked makes it.
    Yours {
        /// Under which id the request is to be recorded: its own, or that of the one before it of which nobody knows whether
        /// it was recorded. An event id posts once, so the two are charged once.
        request_id: RequestId,
    },
    /// Somebody else is making it.
    Running,
    /// It is there.
    Kept {
        /// The request that was charged for it.
        request_id: RequestId,
        /// Who sealed it.
        holder: RequestId,
        /// The answer.
        sealed: Sealed,
    },
    /// It was made and charged, and was too large to be kept.
    NotKept {
        /// The request that was charged for it.
        request_id: RequestId,
    },
    /// It answers another body.
    OtherBody,
}

/// Holds on to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldAnswer {
    /// Which answer.
    pub answer_id: AnswerId,
    /// Who has claimed it.
    pub holder: RequestId,
    /// For how long from now, in milliseconds.
    pub hold_ms: u32,
}

/// Ends a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndAnswer {
    /// Which answer.
    pub answer_id: AnswerId,
    /// Who has claimed it.
    pub holder: RequestId,
    /// What became of the request.
    pub end: AnswerEnd,
}

/// What became of a request that had claimed its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerEnd {
    /// It was charged, and this is the answer.
    Keep(Sealed),
    /// It was charged, and the answer is too large to be kept.
    TooLarge,
    /// It was not charged: a repeat is a new request.
    Free,
    /// Nobody knows whether it was charged: a repeat is recorded as the same request.
    Unknown,
}

/// What the end of a claim led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerEnded {
    /// It is as it was told.
    Done,
    /// The account's answers take as much room as they may: this one is not kept.
    NoRoom,
    /// Somebody else has claimed it meanwhile, or has ended it: nothing was changed.
    Lost,
}

/// An answer, encrypted. JSON: base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(&*text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_s_bytes_are_base64() {
        let end = AnswerEnd::Keep(Sealed(vec![0, 255, 16]));
        let json = serde_json::to_string(&end).unwrap();
        assert_eq!(json, r#"{"keep":"AP8Q"}"#);
        assert_eq!(serde_json::from_str::<AnswerEnd>(&json).unwrap(), end);
        assert!(serde_json::from_str::<AnswerEnd>(r#"{"keep":"AP8"}"#).is_err());
        assert_eq!(format!("{end:?}"), "Keep(Sealed(3 bytes))");
    }
}
