//! Credit lots and the order in which they are drawn.

use schemas::event::CreditSource;
use schemas::{LotId, Usd};

/// One grant of credit, drawn down until it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The lot.
    pub id: LotId,
    /// Where it came from.
    pub source: CreditSource,
    /// What it held at first.
    pub amount: Usd,
    /// What it holds now; never below zero, never above `amount`.
    pub remaining: Usd,
    /// Lots of a lower number are drawn first.
    pub priority: u8,
    /// The account's lots opened before this one: its age.
    pub sequence: u64,
}

impl Lot {
    /// The funding order: priority, then age.
    fn order(&self) -> (u8, u64) {
        (self.priority, self.sequence)
    }
}

/// What one lot gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    pub(crate) lot: LotId,
    pub(crate) amount: Usd,
}

/// Puts a lot at its place in the funding order.
pub(crate) fn insert(lots: &mut Vec<Lot>, lot: Lot) {
    let at = lots.partition_point(|other| other.order() <= lot.order());
    lots.insert(at, lot);
}

/// Draws `amount` from lots in funding order, empties some, and returns what each gave and what none could cover.
/// Emptied lots are removed: what they gave stays in the transfers.
///
/// `None` only where a sum leaves the range of exact money, which no account within its limits can reach; then nothing
/// is drawn.
pub(crate) fn draw(lots: &mut Vec<Lot>, amount: Usd) -> Option<(Vec<Draw>, Usd)> {
    let mut draws = Vec::new();
    let mut left = amount;
    for lot in lots.iter() {
        if left.is_zero() {
            break;
        }
        let given = lot.remaining.min(left);
        left = left.checked_sub(given)?;
        draws.push(Draw { lot: lot.id, amount: given });
    }
    for (lot, draw) in lots.iter_mut().zip(&draws) {
        lot.remaining = lot.remaining.checked_sub(draw.amount)?;
    }
    lots.retain(|lot| !lot.remaining.is_zero());
    Some((draws, left))
}
