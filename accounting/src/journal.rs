//! The transfers of one event, as they come up.

use schemas::{LotId, Usd};

use crate::transfer::{Amount, Code, LedgerAccount, Transfer};

/// Collects transfers. What is nothing is not written down.
#[derive(Debug, Default)]
pub(crate) struct Journal(Vec<Transfer>);

impl Journal {
    /// Money leaves `credit` and arrives at `debit`.
    pub(crate) fn usd(
        &mut self,
        debit: LedgerAccount,
        credit: LedgerAccount,
        amount: Usd,
        code: Code,
        lot: Option<LotId>,
    ) {
        if amount.is_positive() {
            self.add(Transfer { debit, credit, amount: Amount::Usd(amount), code, lot });
        }
    }

    /// Plan tokens leave `credit` and arrive at `debit`.
    pub(crate) fn tokens(&mut self, debit: LedgerAccount, credit: LedgerAccount, amount: u64, code: Code, lot: LotId) {
        if amount > 0 {
            self.add(Transfer { debit, credit, amount: Amount::PlanTokens(amount), code, lot: Some(lot) });
        }
    }

    /// Nearly all events have one transfer, and thousands of events are in memory at a time: no room is kept for more.
    fn add(&mut self, transfer: Transfer) {
        self.0.reserve_exact(1);
        self.0.push(transfer);
    }

    /// All of them.
    pub(crate) fn into_transfers(self) -> Vec<Transfer> {
        self.0
    }
}
