//! API keys: made from randomness that comes in, checked for typos, hashed under the operator's pepper.
//!
//! `mh-sk-`, 40 base-62 characters (238 bits), 6 base-62 characters of a CRC-32 over all before them. Secret scanners
//! recognise the form, a mistyped key is refused without asking a store, and no slow hash is needed at that length.

use hmac::{Hmac, KeyInit, Mac};
use schemas::event::KeyHash;
use sha2::Sha256;

const PREFIX: &str = "mh-sk-";
const RANDOM_CHARACTERS: usize = 40;
const CHECKSUM_CHARACTERS: usize = 6;
const HINT_CHARACTERS: usize = 4;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Bytes of randomness that [`generate`] takes: eight for each character, so that no character is likelier than another
/// by more than 2⁻⁵⁸.
pub const RANDOM_BYTES: usize = RANDOM_CHARACTERS * 8;

/// An API key: a secret. It has no `Debug`, so that it can't reach a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key itself, to show it once to its owner.
    pub fn into_secret(self) -> String {
        self.0
    }

    /// The key itself, to derive from it what only its owner may open.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What its owner may see of it again: its last four characters.
    pub fn hint(&self) -> String {
        self.0[self.0.len() - HINT_CHARACTERS..].to_owned()
    }

    /// Its hash under the operator's pepper, which is what stores and the log hold.
    pub fn hash(&self, pepper: &[u8]) -> KeyHash {
        hash(pepper, &self.0)
    }
}

/// Makes a key from randomness.
pub fn generate(random: &[u8; RANDOM_BYTES]) -> ApiKey {
    let mut key = String::with_capacity(PREFIX.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS);
    key.push_str(PREFIX);
    for word in random.as_chunks::<8>().0 {
        key.push(digit(u64::from_le_bytes(*word)));
    }
    for character in checksum(&key) {
        key.push(character);
    }
    ApiKey(key)
}

/// Reads what a client sent; `None` for whatever this system never issued, typos included.
pub fn parse(text: &str) -> Option<ApiKey> {
    is_well_formed(text).then(|| ApiKey(text.to_owned()))
}

/// Whether a text has the form of a key, with a checksum that fits.
pub fn is_well_formed(text: &str) -> bool {
    let Some(secret) = text.strip_prefix(PREFIX) else { return false };
    if secret.len() != RANDOM_CHARACTERS + CHECKSUM_CHARACTERS || !secret.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let (body, sum) = text.split_at(PREFIX.len() + RANDOM_CHARACTERS);
    sum.chars().eq(checksum(body))
}

/// HMAC-SHA256 of a key under the operator's pepper.
#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "HMAC is defined for keys of every length")]
pub fn hash(pepper: &[u8], key: &str) -> KeyHash {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("a key of any length");
    mac.update(key.as_bytes());
    KeyHash(mac.finalize().into_bytes().into())
}

/// The CRC-32 of `body` in base 62, most significant digit first; 62⁶ is above 2³².
fn checksum(body: &str) -> [char; CHECKSUM_CHARACTERS] {
    let mut rest = u64::from(crc32fast::hash(body.as_bytes()));
    let mut characters = ['0'; CHECKSUM_CHARACTERS];
    for character in characters.iter_mut().rev() {
        *character = digit(rest);
        rest /= 62;
    }
    characters
}

fn digit(value: u64) -> char {
    char::from(BASE62[(value % 62) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// CRC-32 and HMAC-SHA256 of the key from Python's `zlib` and `hmac`.
    #[test]
    fn form_checksum_hint_and_hash_are_the_documented_ones() {
        let key = generate(&[0; RANDOM_BYTES]);
        assert_eq!(key.0, format!("mh-sk-{}22mlkZ", "0".repeat(40)));
        assert_eq!(key.hint(), "mlkZ");
        assert_eq!(key.hash(b"pepper").to_string(), "6cd8b219b08a2b36ee4e43ea8a3bb188216b198644b96f8c88630cc0bbc261f9");
        assert_ne!(key.hash(b"pepper"), key.hash(b"salt"));
        assert_eq!(key.into_secret(), format!("mh-sk-{}22mlkZ", "0".repeat(40)));
    }

    #[test]
    fn what_was_never_issued_is_refused() {
        let good = generate(&std::array::from_fn(|i| u8::try_from(i % 251).unwrap())).0;
        let check = |text: &str, expected: bool| {
            assert_eq!(is_well_formed(text), expected, "{text}");
            assert_eq!(parse(text).is_some(), expected, "{text}");
        };
        check(&good, true);
        check("", false);
        check("mh-sk-", false);
        check(&good[1..], false);
        check(&good[..good.len() - 1], false);
        check(&format!("{good}0"), false);
        check(&good.replacen("mh-sk-", "mh-pk-", 1), false);
        check(&good.to_uppercase(), false);
        check(&format!("mh-sk-{}", "é".repeat(23)), false);
        check(&format!("mh-sk-{}-{}", &good[6..10], &good[11..]), false);
    }

    proptest! {
        #[test]
        fn every_key_made_is_well_formed_and_every_single_typo_is_caught(
            random in prop::collection::vec(any::<u8>(), RANDOM_BYTES), at in 6..52_usize, other in 0..62_usize,
        ) {
            let key = generate(&random.try_into().unwrap()).0;
            prop_assert!(is_well_formed(&key));
            let mut typo = key.clone().into_bytes();
            typo[at] = BASE62[other];
            let typo = String::from_utf8(typo).unwrap();
            prop_assert_eq!(is_well_formed(&typo), typo == key);
        }

        /// Each character depends on its own eight bytes alone, and takes every digit.
        #[test]
        fn characters_are_independent(word in any::<u64>(), at in 0..RANDOM_CHARACTERS) {
            let mut random = [0; RANDOM_BYTES];
            random[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
            let key = generate(&random).0.into_bytes();
            for (index, character) in key[6..46].iter().enumerate() {
                let expected = if index == at { BASE62[usize::try_from(word % 62).unwrap()] } else { b'0' };
                prop_assert_eq!(*character, expected);
            }
        }
    }
}
