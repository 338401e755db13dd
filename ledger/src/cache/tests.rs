use accounting::{Lot, Suspension};
use proptest::prelude::*;
use schemas::api::LotSource;
use schemas::catalogue::PlanTerms;
use schemas::{LotId, Offset, PartitionId, Timestamp, Usd};
use uuid::Uuid;

use super::*;

fn account(id: u8, lots: u8) -> StoredAccount {
    let plan = PlanTerms {
        id: "free".into(),
        price_usd: Usd::ZERO,
        tokens_per_month: 0,
        rollover_tokens: 0,
        requests_per_minute: 10,
        max_in_flight: 2,
        max_keys: None,
        trial_credit_usd: Usd::ZERO,
    };
    let lot = |n: u8| Lot {
        id: LotId(Uuid::from_u128(n.into())),
        source: LotSource::Trial,
        amount: Usd::ZERO,
        remaining: Usd::ZERO,
        priority: 1,
        expires_at: None,
        sequence: 0,
    };
    let state = AccountState {
        id: AccountId(Uuid::from_u128(id.into())),
        opened_at: Timestamp::from_micros(0),
        closed: false,
        suspensions: BTreeSet::<Suspension>::new(),
        plan,
        paid: false,
        keys: BTreeMap::new(),
        lots: (0..lots).map(lot).collect(),
        lots_opened: lots.into(),
        debt: Usd::ZERO,
        subscription: None,
        payments: BTreeMap::new(),
        disputes: BTreeMap::new(),
        decided_disputes: BTreeSet::new(),
        corrections: BTreeMap::new(),
        invoices_issued: 0,
        version: Offset(0),
    };
    StoredAccount { partition: PartitionId(0), state }
}

/// As [`Accounts`] does it, in the plainest way: `(account, last batch)` in a list.
#[derive(Default)]
struct Naive(Vec<(StoredAccount, u64)>);

impl Naive {
    fn take(&mut self, batch: u64, accounts: &[StoredAccount], limit: usize) {
        for account in accounts {
            self.0.retain(|(other, _)| other.state.id != account.state.id);
            self.0.push((account.clone(), batch));
        }
        self.0.sort_by_key(|(account, used)| (*used, account.state.id));
        while self.0.iter().map(|(account, _)| size(&account.state)).sum::<usize>() > limit {
            self.0.remove(0);
        }
    }
}

proptest! {
    /// Whatever the batches, it holds what the plain way holds, and no more than it may.
    #[test]
    fn the_longest_unused_accounts_go_first(
        batches in prop::collection::vec(prop::collection::vec((0..12_u8, 0..6_u8), 0..8), 0..20),
        limit in 0..20_000_usize,
    ) {
        let (mut accounts, mut naive) = (Accounts { limit, ..Accounts::default() }, Naive::default());
        for (batch, touched) in (1..).zip(&batches) {
            let touched: Vec<_> = touched.iter().map(|(id, lots)| account(*id, *lots)).collect();
            accounts.batches = batch;
            for account in &touched {
                accounts.put(account.clone());
            }
            accounts.evict();
            naive.take(batch, &touched, limit);
            let mut expected: Vec<_> = naive.0.iter().map(|(account, _)| account.clone()).collect();
            expected.sort_by_key(|account| account.state.id);
            let held: Vec<_> = accounts.held.values().map(|held| held.account.clone()).collect();
            prop_assert_eq!(&held, &expected);
            prop_assert_eq!(accounts.bytes, held.iter().map(|account| size(&account.state)).sum::<usize>());
            prop_assert!(accounts.bytes <= limit);
            prop_assert_eq!(accounts.by_use.len(), held.len());
        }
    }
}

#[test]
fn the_last_events_are_remembered_in_bounded_memory() {
    let id = |n: usize| EventId(Uuid::from_u128(n as u128));
    let mut recent = Recent::default();
    let all = 3 * GENERATION + 10;
    let tag = |n: usize| FactTag(u32::try_from(n).unwrap());
    for n in 0..all {
        recent.add(id(n), tag(n));
        assert_eq!(recent.tag(id(n)), Some(tag(n)));
    }
    let last = all - GENERATION..all;
    assert!(last.into_iter().all(|n| recent.tag(id(n)) == Some(tag(n))), "at least the last generation");
    assert_eq!([0, GENERATION - 1].map(|n| recent.tag(id(n))), [None; 2]);
    assert!(recent.current.len() + recent.before.len() <= 2 * GENERATION);
}
