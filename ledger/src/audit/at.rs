//! As of when.

use std::collections::BTreeMap;
use std::str::FromStr;

use accounting::AccountState;
use schemas::{Offset, PartitionId, Position, Timestamp, Usd};
use thiserror::Error;

/// A past moment of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// With everything up to and including a record, in each partition that is named; others are left out.
    Positions(BTreeMap<PartitionId, Offset>),
    /// For each account, with everything before the first entry of its statement that happened later than this. Events of
    /// one account are in one order, so this is a state that the account was in; what arrives late belongs to the time of
    /// its arrival. What never posted ends nothing, nor does what moves nothing: a statement knows neither.
    Time(Timestamp),
}

/// A text that is no moment.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is neither a position of the log (0:1234, which is partition:offset; several with commas between) nor a time \
     (2026-11-01T00:00:00Z)"
)]
pub struct NotAMoment(String);

/// A moment that is not one of the log it is asked of.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NoSuchMoment {
    /// The log has fewer partitions.
    #[error("--at {0}: the log has {1} partitions, numbered from 0, and {partition} is none of them", partition = .0.partition)]
    Partition(Position, usize),
    /// The log has fewer records.
    #[error("--at {0}: that partition of the log ends at {end}, so its last record is before that", end = .1)]
    Record(Position, Offset),
    /// The ledger is not there yet.
    #[error(
        "--at {0}: the ledger has applied that partition to before {next} only; start the ledger and try again when it \
         is there", next = .1
    )]
    NotApplied(Position, Offset),
}

impl FromStr for At {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        if let Ok(time) = text.parse() {
            return Ok(Self::Time(time));
        }
        let positions: Result<Vec<Position>, _> = text.split(',').map(str::parse).collect();
        let positions = positions.map_err(|_| NotAMoment(text.to_owned()))?;
        let count = positions.len();
        let by_partition: BTreeMap<_, _> = positions.into_iter().map(|at| (at.partition, at.offset)).collect();
        // Two positions of one partition are no moment.
        if by_partition.len() < count {
            return Err(NotAMoment(text.to_owned()));
        }
        Ok(Self::Positions(by_partition))
    }
}

impl At {
    /// Refuses a moment that a log does not have. `partitions` says to where each is applied, and where it ends.
    pub(super) fn is_of(&self, partitions: &BTreeMap<PartitionId, (Offset, Offset)>) -> Result<(), NoSuchMoment> {
        let Self::Positions(positions) = self else { return Ok(()) };
        for (partition, offset) in positions {
            let at = Position { partition: *partition, offset: *offset };
            match partitions.get(partition) {
                None => return Err(NoSuchMoment::Partition(at, partitions.len())),
                Some((_, end)) if offset >= end => return Err(NoSuchMoment::Record(at, *end)),
                Some((applied, _)) if offset >= applied => return Err(NoSuchMoment::NotApplied(at, *applied)),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Where a replay of the partition ends, of which `applied` is applied; none where it is left out.
    pub(super) fn bound(at: Option<&Self>, partition: PartitionId, applied: Offset) -> Option<Offset> {
        match at {
            Some(Self::Positions(positions)) => positions.get(&partition).map(|last| last.next().min(applied)),
            Some(Self::Time(_)) | None => Some(applied),
        }
    }

    /// Whether the account was there then: opened, or with something on its statement already.
    pub(super) fn knows(&self, state: &AccountState) -> bool {
        let untouched = state.lots_opened == 0 && state.debt == Usd::ZERO && state.balance() == Some(Usd::ZERO);
        self.time().is_none_or(|time| state.opened_at <= time || !untouched)
    }

    pub(super) fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Time(time) => Some(*time),
            Self::Positions(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_of_its_log() {
        let log = [(PartitionId(0), (Offset(3), Offset(5))), (PartitionId(1), (Offset(0), Offset(0)))].into();
        let check = |at: &str, expected: Option<&str>| {
            let refused = at.parse::<At>().unwrap().is_of(&log).err().map(|error| error.to_string());
            match (refused, expected) {
                (None, None) => {}
                (Some(told), Some(expected)) => assert!(told.contains(expected), "{at}: {told}"),
                (told, expected) => panic!("{at}: {told:?}, not {expected:?}"),
            }
        };
        check("0:2", None);
        check("2026-11-01T00:00:00Z", None);
        check("0:3", Some("--at 0:3: the ledger has applied that partition to before 3 only"));
        check("0:5", Some("--at 0:5: that partition of the log ends at 5"));
        check("0:2,1:0", Some("--at 1:0: that partition of the log ends at 0"));
        check("7:0", Some("--at 7:0: the log has 2 partitions, numbered from 0, and 7 is none of them"));
        assert!("0:1,0:2".parse::<At>().is_err());
    }
}
