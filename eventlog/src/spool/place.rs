//! A place in the spool: how far it is drained.

/// Where a record begins, or the end of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The segment's number; 0 is before all.
    pub(super) segment: u64,
    /// The byte in its file.
    pub(super) at: u32,
}

impl Place {
    /// As the file has it: `segment u64 | at u32 | crc u32`.
    pub(super) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let number = u128::from(self.segment) | u128::from(self.at) << 64;
        bytes.copy_from_slice(&number.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        let number = number | u128::from(crc) << 96;
        bytes.copy_from_slice(&number.to_le_bytes());
        bytes
    }

    /// `None` where the bytes are not what was written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = *bytes.first_chunk::<16>()?;
        let number = u128::from_le_bytes(bytes);
        let segment = u64::try_from(number & u128::from(u64::MAX)).ok()?;
        let at = u32::try_from(number >> 64 & u128::from(u32::MAX)).ok()?;
        let place = Self { segment, at };
        (place.encode() == bytes).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        for place in [Place::default(), Place { segment: 1, at: 40 }, Place { segment: u64::MAX, at: u32::MAX }] {
            let bytes = place.encode();
            assert_eq!(Place::decode(&bytes), Some(place));
            for bit in 0..128 {
                let mut changed = bytes;
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Place::decode(&changed), None, "bit {bit} of {place:?}");
            }
        }
        assert_eq!(Place::decode(&[]), None);
        assert_eq!(Place::decode(&[0; 15]), None);
    }
}
