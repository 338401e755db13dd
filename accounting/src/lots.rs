//! Credit lots and the order in which they are drawn.

use schemas::api::LotSource;
use schemas::{LotId, Timestamp, Usd};
use serde::{Deserialize, Serialize};

/// One grant or purchase of credit, drawn down until it is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lot {
    /// The lot.
    pub id: LotId,
    /// Where it came from.
    pub source: LotSource,
    /// What it held at first.
    pub amount: Usd,
    /// What it holds now; never below zero, never above `amount`.
    pub remaining: Usd,
    /// Lots of a lower number are drawn first.
    pub priority: u8,
    /// From when on an event may close it; never, where absent.
    pub expires_at: Option<Timestamp>,
    /// The account's lots opened before this one: its age.
    pub sequence: u64,
}

impl Lot {
    /// The funding order: priority, then expiry (what never expires comes last), then age.
    fn order(&self) -> (u8, bool, Option<Timestamp>, u64) {
        (self.priority, self.expires_at.is_none(), self.expires_at, self.sequence)
    }
}

/// What one lot gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    /// Its place among the lots.
    index: usize,
    pub(crate) lot: LotId,
    pub(crate) amount: Usd,
    /// What it holds after that.
    remaining: Usd,
}

/// What lots give together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draws {
    pub(crate) draws: Vec<Draw>,
    /// What none of them could cover.
    pub(crate) uncovered: Usd,
}

/// What lots hold together; `None` only beyond the range of exact money.
pub(crate) fn total(lots: &[Lot]) -> Option<Usd> {
    match lots {
        [] => Some(Usd::ZERO),
        [only] => Some(only.remaining),
        [first, rest @ ..] => rest.iter().try_fold(first.remaining, |sum, lot| sum.checked_add(lot.remaining)),
    }
}

/// Puts a lot at its place in the funding order. A part of a lot that is there already joins it.
pub(crate) fn insert(lots: &mut Vec<Lot>, lot: Lot) -> Option<()> {
    if let Some(whole) = lots.iter_mut().find(|other| other.id == lot.id) {
        whole.remaining = whole.remaining.checked_add(lot.remaining)?;
    } else if lot.remaining.is_positive() {
        let at = lots.partition_point(|other| other.order() <= lot.order());
        lots.insert(at, lot);
    }
    Some(())
}

/// What lots would give towards `amount`, in funding order, but from the lot `first` before all others.
///
/// `None` only where a sum leaves the range of exact money, which no account within its limits can reach.
pub(crate) fn draw(lots: &[Lot], amount: Usd, first: Option<LotId>) -> Option<Draws> {
    let first = first.and_then(|id| lots.iter().position(|lot| lot.id == id));
    let others = (0..lots.len()).filter(|index| Some(*index) != first);
    let mut draws = Vec::new();
    let mut uncovered = amount;
    for index in first.into_iter().chain(others) {
        if uncovered.is_zero() {
            break;
        }
        let lot = &lots[index];
        let amount = lot.remaining.min(uncovered);
        uncovered = uncovered.checked_sub(amount)?;
        draws.push(Draw { index, lot: lot.id, amount, remaining: lot.remaining.checked_sub(amount)? });
    }
    Some(Draws { draws, uncovered })
}

/// Takes what [`draw`] found. Emptied lots are removed: what they gave stays in the transfers.
pub(crate) fn take(lots: &mut Vec<Lot>, draws: &[Draw]) {
    for draw in draws {
        lots[draw.index].remaining = draw.remaining;
    }
    if draws.iter().any(|draw| draw.remaining.is_zero()) {
        lots.retain(|lot| !lot.remaining.is_zero());
    }
}

/// Takes what [`draw`] found, and returns it as parts of lots.
pub(crate) fn take_parts(lots: &mut Vec<Lot>, draws: &[Draw]) -> Vec<Lot> {
    let parts = draws.iter().map(|draw| Lot { remaining: draw.amount, ..lots[draw.index].clone() }).collect();
    take(lots, draws);
    parts
}
