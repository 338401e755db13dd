//! The running hash over a partition (I7): whoever changes, drops, adds or swaps a record changes every hash after it.

use std::fmt;

use schemas::Offset;
use sha2::{Digest, Sha256};

/// SHA-256 over (previous hash, offset, record).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// The hash before a partition's first record.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash after one more record. Previous hash and offset have fixed lengths (offset: 8 bytes, big-endian), so no
    /// two inputs run together.
    #[must_use]
    pub fn extend(self, offset: Offset, record: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(offset.0.to_be_bytes());
        hasher.update(record);
        Self(hasher.finalize().into())
    }

    /// Its first eight bytes: enough to tell where two chains part, in eight bytes a row.
    #[must_use]
    pub fn tag(self) -> i64 {
        self.0.first_chunk().copied().map_or(0, i64::from_be_bytes)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(records: &[(u64, &[u8])]) -> ChainHash {
        records.iter().fold(ChainHash::GENESIS, |hash, (offset, record)| hash.extend(Offset(*offset), record))
    }

    #[test]
    fn any_change_of_the_past_changes_the_hash() {
        let honest = chain(&[(0, b"a"), (1, b"b"), (2, b"c")]);
        assert_eq!(honest, chain(&[(0, b"a"), (1, b"b"), (2, b"c")]));
        let check = |records: &[(u64, &[u8])]| assert_ne!(honest, chain(records), "{records:?}");
        check(&[(0, b"a"), (1, b"x"), (2, b"c")]);
        check(&[(0, b"a"), (2, b"c")]);
        check(&[(0, b"b"), (1, b"a"), (2, b"c")]);
        check(&[(0, b"a"), (1, b"b"), (3, b"c")]);
        check(&[(0, b"a"), (1, b"b"), (2, b"c"), (3, b"")]);
    }

    /// SHA-256 of 32 zero bytes, 8 zero bytes and `a`, from coreutils' `sha256sum`.
    #[test]
    fn the_formula_is_the_documented_one() {
        let (first, text) = (chain(&[(0, b"a")]), "f7c411c3f13be9de119e111afaab09a3db475c2348ae0294fec3939dc695d7b0");
        assert_eq!((first.to_string().as_str(), format!("{first:?}").as_str()), (text, text));
        assert_eq!(first.tag(), 0xf7c4_11c3_f13b_e9de_u64.cast_signed());
    }
}
