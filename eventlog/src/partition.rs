//! Which partition a record belongs to.
//!
//! The Java client's default for keyed records (murmur2 over the key's bytes), so that any Kafka client that writes to
//! the topic agrees. The key's bytes are the account id's text: a hyphenated, lower-case UUID.

use schemas::{AccountId, PartitionId};

/// The partition of an account's records.
pub fn of(key: AccountId, partitions: u32) -> PartitionId {
    PartitionId(positive(murmur2(key.to_string().as_bytes())) % partitions.max(1))
}

/// The Java client clears the sign rather than taking the absolute value, which `i32::MIN` has none of.
fn positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// `MurmurHash2`, 32 bits, with Kafka's seed.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;

    #[expect(clippy::cast_possible_truncation, reason = "the hash mixes in the length modulo 2^32")]
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_java_client_does() {
        // The vectors of Apache Kafka's own UtilsTest, as its signed integers.
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), expected, "{text}");
        }
    }

    #[test]
    fn spreads_accounts_over_all_partitions_evenly() {
        let mut counts = [0_u32; 8];
        for n in 0..8_000_u128 {
            let PartitionId(partition) = of(AccountId(uuid::Uuid::from_u128(n << 64 | n)), 8);
            counts[partition as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
