//! As of when.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemas::{Offset, PartitionId, Position, Timestamp};
use thiserror::Error;

/// A past moment of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// With everything up to and including a record, in each partition that is named; others are left out.
    Positions(BTreeMap<PartitionId, Offset>),
    /// For each account, with everything before its first event that happened later than this. Events of one account are
    /// in one order, so this is a state that the account was in; what arrives late belongs to the time of its arrival.
    Time(Timestamp),
}

/// A text that is no moment.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "`{0}` is neither a position of the log (0:1234, which is partition:offset; several with commas between) nor a time \
     (2026-11-01T00:00:00Z)"
)]
pub struct NotAMoment(String);

impl FromStr for At {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        if let Ok(time) = text.parse() {
            return Ok(Self::Time(time));
        }
        let positions: Result<Vec<Position>, _> = text.split(',').map(str::parse).collect();
        let positions = positions.map_err(|_| NotAMoment(text.to_owned()))?;
        Ok(Self::Positions(positions.into_iter().map(|at| (at.partition, at.offset)).collect()))
    }
}

impl At {
    /// Where a replay of the partition ends, of which `applied` is applied; none where it is left out.
    pub(super) fn bound(at: Option<&Self>, partition: PartitionId, applied: Offset) -> Option<Offset> {
        match at {
            Some(Self::Positions(positions)) => positions.get(&partition).map(|last| last.next().min(applied)),
            Some(Self::Time(_)) | None => Some(applied),
        }
    }

    pub(super) fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Time(time) => Some(*time),
            Self::Positions(_) => None,
        }
    }
}
