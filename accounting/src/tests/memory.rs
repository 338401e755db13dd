//! A store in memory, as the ledger's sink uses one, with the operator's books beside it.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use schemas::{AccountId, EventId, Offset};

use crate::{AccountState, Amount, ChainHash, Commodity, Entry, Fold, LedgerAccount, Outcome, RecordRef, StateHash};

/// What a partition's records made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) accounts: BTreeMap<AccountId, AccountState>,
    pub(super) posted: BTreeSet<EventId>,
    pub(super) chain: ChainHash,
    pub(super) next: Offset,
    /// Debits less credits.
    pub(super) books: BTreeMap<LedgerAccount, Decimal>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            accounts: BTreeMap::new(),
            posted: BTreeSet::new(),
            chain: ChainHash::GENESIS,
            next: Offset(0),
            books: BTreeMap::new(),
        }
    }

    /// Folds one batch. An event id posts at most once (I5), and every transfer moves something (I2).
    pub(super) fn take(&mut self, records: &[Vec<u8>]) -> Vec<Entry> {
        let first = self.next.0;
        let records = (first..).zip(records).map(|(offset, payload)| RecordRef { offset: Offset(offset), payload });
        let fold = Fold::decode(records, |_| true);
        let known = fold.accounts().iter().filter_map(|id| Some((*id, self.accounts.get(id)?.clone()))).collect();
        let posted = fold.event_ids().intersection(&self.posted).copied().collect();
        let folded = fold.apply(known, posted, self.chain);
        self.accounts.extend(folded.accounts);
        self.chain = folded.chain;
        self.next = Offset(first + folded.entries.len() as u64);
        for entry in &folded.entries {
            let (Some(event), Outcome::Applied(posting)) = (&entry.event, &entry.outcome) else { continue };
            assert!(self.posted.insert(event.id), "{:?} posted twice", event.id);
            for transfer in &posting.transfers {
                assert!(transfer.debit != transfer.credit, "{transfer:?}");
                let amount = transfer.amount.as_decimal();
                assert!(amount > Decimal::ZERO && amount.scale() <= 12, "{transfer:?}");
                let commodity = |account: &LedgerAccount| account.to_string().starts_with("tokens:");
                let is_tokens = matches!(transfer.amount, Amount::PlanTokens(_));
                assert_eq!((commodity(&transfer.debit), commodity(&transfer.credit)), (is_tokens, is_tokens));
                *self.books.entry(transfer.debit.clone()).or_default() += amount;
                *self.books.entry(transfer.credit.clone()).or_default() -= amount;
            }
        }
        folded.entries
    }

    pub(super) fn book(&self, account: &LedgerAccount) -> Decimal {
        self.books.get(account).copied().unwrap_or_default()
    }

    /// All debits less all credits of a commodity.
    pub(super) fn total(&self, commodity: Commodity) -> Decimal {
        let of = |account: &LedgerAccount| match account.to_string().starts_with("tokens:") {
            true => Commodity::PlanTokens,
            false => Commodity::Usd,
        };
        self.books.iter().filter(|(account, _)| of(account) == commodity).map(|(_, amount)| *amount).sum()
    }

    pub(super) fn hash(&self) -> StateHash {
        StateHash::of(self.accounts.values()).unwrap()
    }
}
