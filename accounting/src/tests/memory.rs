//! A store in memory, as the ledger's sink uses one, with the operator's books beside it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemas::{AccountId, EventId, Offset};

use crate::{AccountState, ChainHash, Commodity, Entry, FactTag, Fold, LedgerAccount, Outcome, RecordRef, StateHash};

/// What the records of some partitions made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Memory {
    pub(super) accounts: BTreeMap<AccountId, AccountState>,
    pub(super) posted: BTreeMap<EventId, FactTag>,
    /// By partition: where it goes on, and its chain.
    pub(super) heads: BTreeMap<u32, (u64, [u8; 32])>,
    /// Debits less credits.
    pub(super) books: BTreeMap<LedgerAccount, Decimal>,
}

impl Memory {
    /// Folds one batch. An event id posts at most once (I5), and every transfer moves something, from an account to another
    /// one of the same commodity (I1, I2).
    pub(super) fn take(&mut self, partition: u32, records: &[Vec<u8>]) -> Vec<Entry> {
        let (first, chain) = self.heads.get(&partition).copied().unwrap_or((0, ChainHash::GENESIS.0));
        let count = records.len() as u64;
        let records = (first..).zip(records).map(|(offset, payload)| RecordRef { offset: Offset(offset), payload });
        let fold = Fold::decode(records, |_| true);
        assert!(fold.records().map(|record| record.offset.0).eq(first..first + count));
        let known = fold.accounts().iter().filter_map(|id| Some((*id, self.accounts.get(id)?.clone()))).collect();
        let posted = fold.event_ids().into_iter().filter_map(|id| Some((id, *self.posted.get(&id)?))).collect();
        let folded = fold.apply(known, posted, ChainHash(chain));
        self.accounts.extend(folded.accounts);
        self.heads.insert(partition, (first + folded.entries.len() as u64, folded.chain.0));
        for entry in &folded.entries {
            let (Some(event), Outcome::Applied(posting)) = (&entry.event, &entry.outcome) else { continue };
            assert_eq!(self.posted.insert(event.id, entry.tag), None, "{:?} posted twice", event.id);
            for transfer in &posting.transfers {
                let amount = transfer.amount.as_decimal();
                assert!(amount > Decimal::ZERO && amount.scale() <= 12, "{transfer:?}");
                assert_ne!(transfer.debit, transfer.credit);
                let commodities = (transfer.debit.commodity(), transfer.credit.commodity());
                assert_eq!(commodities, (transfer.amount.commodity(), transfer.amount.commodity()), "{transfer:?}");
                *self.books.entry(transfer.debit.clone()).or_default() += amount;
                *self.books.entry(transfer.credit.clone()).or_default() -= amount;
            }
        }
        folded.entries
    }

    pub(super) fn book(&self, account: &LedgerAccount) -> Decimal {
        self.books.get(account).copied().unwrap_or_default()
    }

    /// All debits less all credits of the accounts that are wanted.
    pub(super) fn sum(&self, wanted: impl Fn(&LedgerAccount) -> bool) -> Decimal {
        self.books.iter().filter(|(account, _)| wanted(account)).map(|(_, amount)| *amount).sum()
    }

    /// Whether all debits equal all credits, in each commodity (I2).
    pub(super) fn is_balanced(&self) -> bool {
        let total = |commodity: Commodity| self.sum(|account| account.commodity() == commodity);
        total(Commodity::Usd).is_zero() && total(Commodity::PlanTokens).is_zero()
    }

    pub(super) fn hash(&self) -> StateHash {
        StateHash::of(self.accounts.values()).unwrap()
    }
}
