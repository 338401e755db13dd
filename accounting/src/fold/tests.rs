//! The fold against a naive reference, and its independence of batch sizes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;
use schemas::EventData;
use schemas::catalogue::PlanTerms;
use schemas::event::{
    AccountOpenedV1, Accuracy, CreditGrantedV1, CreditSource, KeyHash, KeyIssuedV1, Outcome as Ending, UsageRecordedV1,
};
use schemas::usage::{Price, TokenCounts};
use schemas::{KeyId, LotId, RequestId, Timestamp, Usd};
use uuid::Uuid;

use super::*;
use crate::transfer::LedgerAccount;

/// A step of a random history: small domains, so that repeats, unknown accounts and debts all happen.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Key(u8),
    Grant { lot: u8, cents: i64, priority: u8 },
    Use { completion: u64, lie: bool },
    Garbage,
}

fn step() -> impl Strategy<Value = (u8, u16, Step)> {
    let what = prop_oneof![
        1 => Just(Step::Open),
        1 => (0..4_u8).prop_map(Step::Key),
        3 => (0..20_u8, -5..500_i64, 0..3_u8).prop_map(|(lot, cents, priority)| Step::Grant { lot, cents, priority }),
        8 => (0..300_u64, prop::bool::weighted(0.05)).prop_map(|(completion, lie)| Step::Use { completion, lie }),
        1 => Just(Step::Garbage),
    ];
    (0..3_u8, 0..200_u16, what)
}

fn encode((account, id, step): &(u8, u16, Step)) -> Vec<u8> {
    let usd = |cents| Usd::from_decimal(Decimal::new(cents, 2)).unwrap();
    let price = |text: &str| text.parse().unwrap();
    let data = match step {
        Step::Garbage => return vec![b'{', *account, 0xff],
        Step::Open => EventData::AccountOpened(AccountOpenedV1 {
            plan: PlanTerms {
                id: "free".into(),
                price_usd: Usd::ZERO,
                tokens_per_month: 0,
                rollover_tokens: 0,
                requests_per_minute: 10,
                max_in_flight: 2,
                max_keys: Some(2),
                trial_credit_usd: usd(500),
            },
        }),
        Step::Key(key) => EventData::KeyIssued(KeyIssuedV1 {
            key_id: KeyId(Uuid::from_u128(u128::from(*key))),
            name: "k".into(),
            hash: KeyHash([*key; 32]),
            hint: "abcd".into(),
        }),
        Step::Grant { lot, cents, priority } => EventData::CreditGranted(CreditGrantedV1 {
            lot_id: LotId(Uuid::from_u128(u128::from(*lot))),
            source: CreditSource::Promotion,
            amount_usd: usd(*cents),
            priority: *priority,
            reason: "r".into(),
        }),
        Step::Use { completion, lie } => EventData::UsageRecorded(Box::new(UsageRecordedV1 {
            request_id: RequestId(Uuid::from_u128(9)),
            key_id: KeyId(Uuid::from_u128(9)),
            model: "m".into(),
            upstream: "u".into(),
            stream: false,
            outcome: Ending::Completed,
            accuracy: Accuracy::Measured,
            policy: 1,
            tokens: TokenCounts { completion: *completion, ..TokenCounts::default() },
            price: Price { input: price("0"), cached_input: price("0"), output: price("10000") },
            cost_usd: usd(i64::try_from(*completion).unwrap() + i64::from(*lie)),
            started_at: Timestamp::from_micros(1),
            duration_ms: 1,
        })),
    };
    let subject = AccountId(Uuid::from_u128(u128::from(*account)));
    let id = EventId(Uuid::from_u128(u128::from(*id)));
    Event { id, source: "/test".into(), subject, time: Timestamp::from_micros(1), data }.encode().unwrap()
}

/// Knows no lots and no decimals: an account is a number of cents, and grants and usage add to it.
#[derive(Default)]
struct Naive {
    cents: BTreeMap<u8, i64>,
    keys: BTreeSet<(u8, u8)>,
    posted: BTreeSet<u16>,
}

impl Naive {
    /// `lot_is_live` is the one thing it has to be told.
    fn step(&mut self, (account, id, step): &(u8, u16, Step), lot_is_live: bool) {
        if matches!(step, Step::Garbage) || self.posted.contains(id) {
            return;
        }
        let applied = match (step, self.cents.get_mut(account)) {
            (Step::Open, None) => self.cents.insert(*account, 0).is_none(),
            (Step::Open, Some(_)) | (Step::Garbage, _) | (_, None) => false,
            (Step::Key(key), Some(_)) => self.keys.insert((*account, *key)),
            (Step::Grant { cents, .. }, Some(balance)) => {
                let ok = *cents > 0 && !lot_is_live;
                *balance += if ok { *cents } else { 0 };
                ok
            }
            (Step::Use { completion, lie }, Some(balance)) => {
                *balance -= if *lie { 0 } else { i64::try_from(*completion).unwrap() };
                !lie
            }
        };
        if applied {
            self.posted.insert(*id);
        }
    }
}

/// A store in memory, as the ledger's sink uses one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Memory {
    accounts: BTreeMap<AccountId, AccountState>,
    posted: BTreeSet<EventId>,
    chain: ChainHash,
}

impl Memory {
    fn new() -> Self {
        Self { accounts: BTreeMap::new(), posted: BTreeSet::new(), chain: ChainHash::GENESIS }
    }

    fn take(&mut self, first: usize, records: &[Vec<u8>]) -> Vec<Entry> {
        let records = records.iter().enumerate();
        let records = records.map(|(index, payload)| RecordRef { offset: Offset((first + index) as u64), payload });
        let fold = Fold::decode(records, |_| true);
        let known = fold.accounts().iter().filter_map(|id| Some((*id, self.accounts.get(id)?.clone()))).collect();
        let posted = fold.event_ids().intersection(&self.posted).copied().collect();
        let folded = fold.apply(known, posted, self.chain);
        self.accounts.extend(folded.accounts);
        self.chain = folded.chain;
        for entry in &folded.entries {
            if let (Some(event), Outcome::Applied(_)) = (&entry.event, &entry.outcome) {
                assert!(self.posted.insert(event.id), "{:?} posted twice", event.id);
            }
        }
        folded.entries
    }
}

#[test]
fn an_event_of_another_partitions_account_is_quarantined() {
    let payload = encode(&(1, 7, Step::Open));
    let fold = |home: u128| {
        let record = RecordRef { offset: Offset(0), payload: &payload };
        let fold = Fold::decode([record], |account| account.0.as_u128() == home);
        let needs = (fold.accounts().len(), fold.event_ids().len());
        let folded = fold.apply(BTreeMap::new(), BTreeSet::new(), ChainHash::GENESIS);
        (needs, folded.accounts.len(), folded.entries.into_iter().next().unwrap())
    };
    let (needs, accounts, entry) = fold(1);
    assert!(matches!((needs, accounts, entry.outcome), ((1, 1), 1, Outcome::Applied(_))));
    let (needs, accounts, entry) = fold(2);
    assert_eq!((needs, accounts, entry.outcome), ((0, 0), 0, Outcome::Quarantined(Reason::Misrouted)));
    assert_eq!(entry.event.unwrap().id.0.as_u128(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn balances_agree_with_a_naive_sum_after_every_event(history in prop::collection::vec(step(), 1..200)) {
        let mut memory = Memory::new();
        let mut naive = Naive::default();
        let mut books: BTreeMap<LedgerAccount, Decimal> = BTreeMap::new();
        for (index, step) in history.iter().enumerate() {
            let account = AccountId(Uuid::from_u128(u128::from(step.0)));
            let live = |state: &AccountState, lot: u8| state.lots.iter().any(|l| l.id.0 == Uuid::from_u128(u128::from(lot)));
            let lot_is_live = match &step.2 {
                Step::Grant { lot, .. } => memory.accounts.get(&account).is_some_and(|state| live(state, *lot)),
                _ => false,
            };
            naive.step(step, lot_is_live);
            for entry in memory.take(index, &[encode(step)]) {
                let Outcome::Applied(posting) = entry.outcome else { continue };
                for transfer in posting.transfers {
                    prop_assert!(transfer.amount.is_positive());
                    *books.entry(transfer.debit).or_default() += transfer.amount.as_decimal();
                    *books.entry(transfer.credit).or_default() -= transfer.amount.as_decimal();
                }
            }
            prop_assert_eq!(books.values().sum::<Decimal>(), Decimal::ZERO);
            for (account, cents) in &naive.cents {
                let id = AccountId(Uuid::from_u128(u128::from(*account)));
                let state = &memory.accounts[&id];
                prop_assert_eq!(state.balance().unwrap().as_decimal(), Decimal::new(*cents, 2).normalize());
                prop_assert!(state.debt.is_zero() || state.lots.is_empty());
                prop_assert!(state.lots.iter().all(|lot| lot.remaining.is_positive() && lot.remaining <= lot.amount));
                let book = |account| books.get(&account).copied().unwrap_or_default();
                let credit: Decimal = state.lots.iter().map(|lot| lot.remaining.as_decimal()).sum();
                prop_assert_eq!(-book(LedgerAccount::CustomerCredit(id)), credit);
                prop_assert_eq!(book(LedgerAccount::CustomerDebt(id)), state.debt.as_decimal());
            }
        }
        prop_assert_eq!(memory.accounts.len(), naive.cents.len());
        prop_assert_eq!(memory.posted.len(), naive.posted.len());
    }

    #[test]
    fn batch_sizes_do_not_matter(history in prop::collection::vec(step(), 1..200), cut in 1..50_usize) {
        let records: Vec<_> = history.iter().map(encode).collect();
        let run = |size: usize| {
            let mut memory = Memory::new();
            let entries: Vec<_> = records
                .chunks(size)
                .enumerate()
                .flat_map(|(index, chunk)| memory.take(index * size, chunk))
                .map(|entry| format!("{entry:?}"))
                .collect();
            (memory, entries)
        };
        let whole = run(records.len());
        prop_assert_eq!(&run(1), &whole);
        prop_assert_eq!(&run(cut), &whole);
    }
}
