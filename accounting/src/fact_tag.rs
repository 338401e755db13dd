//! Whether two records of one event id tell the same fact.

use schemas::Event;

/// Where `data` begins in a record of this build, which writes it last. No text before it can hold these bytes: a text's
/// quotes are escaped.
const DATA: &str = "\"data\":";

/// A checksum (CRC-32) of which fact an event id stands for: its account, its type, and `data` as the record spells it.
///
/// When it was told, and by whom, is left out. So is `data` where the id is derived (UUIDv5): then the id itself names the fact,
/// and whoever tells it again may word it anew, as ledgers do that all see a period's end. Of two records of one event id,
/// the second is a repeat where the tags are the same, and another fact under a used id where they are not. The checksum
/// protects from mistakes only: a record made to have the same tag is not posted, as any repeat is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactTag(pub u32);

impl FactTag {
    /// The tag of `record`, which was decoded to `event`.
    pub fn of(event: &Event, record: &[u8]) -> Self {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(event.subject.0.as_bytes());
        checksum.update(event.data.event_type().as_bytes());
        if event.id.0.get_version_num() != 5 {
            let text = std::str::from_utf8(record).unwrap_or_default();
            checksum.update(text.find(DATA).and_then(|at| record.get(at..)).unwrap_or(record));
        }
        Self(checksum.finalize())
    }
}
