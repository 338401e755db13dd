//! What makes a kept answer unreadable to whoever keeps it: everything is keyed by the client's own API key, which is stored
//! nowhere. HKDF-SHA256 (RFC 5869) derives one key for each purpose; ids and fingerprints are HMAC-SHA256, cut to 128 bits;
//! answers are ChaCha20-Poly1305 (RFC 8439).
//!
//! An API key has 238 random bits, so it needs no slow derivation.

use accounting::api_key::ApiKey;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use schemas::api::Sealed;
use schemas::{AnswerId, RequestId};
use uuid::Uuid;

/// The domain of all that is derived; another form of what is kept would be another domain.
const DOMAIN: &[u8] = b"modelhub/idempotency/v1";

/// What a client's API key opens.
pub(super) struct Vault {
    master: hkdf::Prk,
}

impl Vault {
    pub(super) fn new(key: &ApiKey) -> Self {
        Self { master: hkdf::Salt::new(hkdf::HKDF_SHA256, DOMAIN).extract(key.expose().as_bytes()) }
    }

    /// Where the answer to a request under this `Idempotency-Key` is kept. Another API key gives another place, also of the
    /// same account.
    pub(super) fn answer_id(&self, idempotency_key: &str) -> Option<AnswerId> {
        self.tag(b"answer id", idempotency_key.as_bytes()).map(AnswerId)
    }

    /// Tells one body from another, and nobody else what is in it.
    pub(super) fn fingerprint(&self, body: &[u8]) -> Option<Uuid> {
        self.tag(b"fingerprint", body)
    }

    /// Encrypts an answer. Each holder has a key of its own and seals once, so the nonce can be constant.
    pub(super) fn seal(&self, answer: AnswerId, holder: RequestId, mut text: Vec<u8>) -> Option<Sealed> {
        let key = self.answer_key(holder)?;
        key.seal_in_place_append_tag(nonce(), aad(&answer), &mut text).ok()?;
        Some(Sealed(text))
    }

    /// Decrypts an answer; `None` where it is not one that `holder` sealed for this place under this API key.
    pub(super) fn open(&self, answer: AnswerId, holder: RequestId, sealed: Sealed) -> Option<Vec<u8>> {
        let (key, mut text) = (self.answer_key(holder)?, sealed.0);
        let length = key.open_in_place(nonce(), aad(&answer), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    fn answer_key(&self, holder: RequestId) -> Option<LessSafeKey> {
        let info = [b"answer".as_slice(), holder.0.as_bytes()];
        let okm = self.master.expand(&info, &CHACHA20_POLY1305).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }

    fn tag(&self, purpose: &[u8], text: &[u8]) -> Option<Uuid> {
        let info = [purpose];
        let key = hmac::Key::from(self.master.expand(&info, hmac::HMAC_SHA256).ok()?);
        Uuid::from_slice(hmac::sign(&key, text).as_ref().get(..16)?).ok()
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// An answer can't be moved to another place.
fn aad(answer: &AnswerId) -> Aad<&[u8; 16]> {
    Aad::from(answer.0.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use accounting::api_key::{RANDOM_BYTES, generate};

    fn vault(byte: u8) -> Vault {
        Vault::new(&generate(&[byte; RANDOM_BYTES]))
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    /// Computed in Python from the RFCs alone: another form would not open what is kept already.
    #[test]
    fn ids_fingerprints_and_answers_are_the_documented_ones() {
        let vault = vault(0);
        let text = |id: Uuid| id.simple().to_string();
        assert_eq!(text(vault.answer_id("order-17").unwrap().0), "e4ca416760cfc754b166f9bb08f03cfd");
        assert_eq!(text(vault.fingerprint(b"{}").unwrap()), "f2901d42850d3a637795ae12261b4b8c");
        let sealed = vault.seal(AnswerId(id(1)), RequestId(id(2)), b"text".to_vec()).unwrap();
        let hex: String = sealed.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01de6c0413925d5e0ba2b9564b080c4a829fd40b");
    }

    #[test]
    fn only_the_same_key_opens_an_answer_and_only_in_its_place() {
        let (answer, holder) = (AnswerId(id(1)), RequestId(id(2)));
        let sealed = vault(0).seal(answer, holder, b"text".to_vec()).unwrap();
        assert_eq!(sealed.0.len(), 4 + 16);
        assert_eq!(vault(0).open(answer, holder, sealed.clone()).as_deref(), Some(b"text".as_slice()));
        assert_eq!(vault(1).open(answer, holder, sealed.clone()), None);
        assert_eq!(vault(0).open(AnswerId(id(3)), holder, sealed.clone()), None);
        assert_eq!(vault(0).open(answer, RequestId(id(3)), sealed.clone()), None);
        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert_eq!(vault(0).open(answer, holder, changed), None, "byte {at}");
        }
        assert_eq!(vault(0).open(answer, holder, Sealed(Vec::new())), None);
    }

    #[test]
    fn another_key_gives_another_place() {
        let ids = [
            vault(0).answer_id("a").unwrap().0,
            vault(0).answer_id("b").unwrap().0,
            vault(1).answer_id("a").unwrap().0,
            vault(0).fingerprint(b"a").unwrap(),
        ];
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
    }
}
