//! An account's state as one document, and hashes over many: the same state always gives the same bytes.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::AccountState;

/// The text is not an account's document.
#[derive(Debug)]
pub struct NotAnAccount(serde_json::Error);

impl fmt::Display for NotAnAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an account's document: {}", self.0)
    }
}

impl std::error::Error for NotAnAccount {}

impl AccountState {
    /// The state as JSON, canonical: fields in a fixed order, sets and maps sorted, amounts without trailing zeros.
    ///
    /// # Errors
    /// None in practice: no part of a state has a form that JSON lacks.
    pub fn to_document(&self) -> Result<String, NotAnAccount> {
        serde_json::to_string(self).map_err(NotAnAccount)
    }

    /// Reads what [`AccountState::to_document`] wrote.
    ///
    /// # Errors
    /// Whatever is no such document, an unknown field included.
    pub fn from_document(text: &str) -> Result<Self, NotAnAccount> {
        serde_json::from_str(text).map_err(NotAnAccount)
    }
}

/// SHA-256 over account documents, in the order of account ids: equal exactly where every account is, to the last byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateHash(pub [u8; 32]);

impl StateHash {
    /// The hash of accounts; they come in the order of their ids, as a `BTreeMap` gives them.
    ///
    /// # Errors
    /// As [`AccountState::to_document`].
    pub fn of<'a>(accounts: impl IntoIterator<Item = &'a AccountState>) -> Result<Self, NotAnAccount> {
        let mut hasher = Sha256::new();
        for account in accounts {
            let document = account.to_document()?;
            hasher.update((document.len() as u64).to_be_bytes());
            hasher.update(document);
        }
        Ok(Self(hasher.finalize().into()))
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
