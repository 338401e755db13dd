//! Random histories: what a store holds after any batches is what one fold in memory makes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use accounting::{Amount, ChainHash, Fold, Outcome, RecordRef};
use ledger::store::{Head, Loaded, StoredAccount};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use schemas::api::StatementEntry;
use schemas::{AccountId, EventId, Offset, PartitionId, Usd};

use super::events::{event_id, grant, key, key_hash, open, usage};
use super::stage::{PARTITIONS, Stage, account_in};

const CASES: u32 = 40;

/// Small domains, so that repeats, unknown accounts, debts and clashes all happen.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Key { key: u8, hash: u8 },
    Grant { lot: u8, pico: i64, priority: u8 },
    Use { completion: u64 },
    Garbage,
}

#[derive(Clone, Debug)]
struct Record {
    account: usize,
    event: u16,
    step: Step,
}

fn record() -> impl Strategy<Value = Record> {
    let step = prop_oneof![
        2 => Just(Step::Open),
        1 => (0..4_u8, 0..4_u8).prop_map(|(key, hash)| Step::Key { key, hash }),
        3 => (0..20_u8, -1..900_000_000_000_000_000_i64, 0..3_u8)
            .prop_map(|(lot, pico, priority)| Step::Grant { lot, pico, priority }),
        8 => (0..1_000_000_u64).prop_map(|completion| Step::Use { completion }),
        1 => Just(Step::Garbage),
    ];
    (0..4_usize, 0..150_u16, step).prop_map(|(account, event, step)| Record { account, event, step })
}

/// A partition, and with it accounts and events, of its own for each case.
struct Case {
    partition: PartitionId,
    accounts: [AccountId; 4],
}

impl Case {
    fn new(partition: u32) -> Self {
        let partition = PartitionId(partition);
        Self { partition, accounts: std::array::from_fn(|n| account_in(partition, n)) }
    }

    fn event(&self, id: u16) -> u128 {
        u128::from(self.partition.0) << 32 | u128::from(id)
    }

    fn encode(&self, record: &Record) -> Vec<u8> {
        let (account, id) = (self.accounts[record.account], self.event(record.event));
        match record.step {
            Step::Garbage => vec![b'{', 0xff, 0],
            Step::Open => open(account, id),
            Step::Key { key: number, hash } => key(account, id, number.into(), hash),
            Step::Grant { lot, pico, priority } => grant(account, id, lot.into(), Usd::from_pico(pico), priority),
            Step::Use { completion } => usage(account, id, completion, "1000.000001"),
        }
    }
}

/// What a store should hold.
#[derive(Debug, PartialEq)]
struct Expected {
    head: Head,
    loaded: Loaded,
    entries: BTreeMap<AccountId, Vec<StatementEntry>>,
    transfers: BTreeSet<String>,
    quarantined: Vec<String>,
}

/// Money in 10⁻¹² USD, plan tokens as they are.
fn smallest(amount: Amount) -> i64 {
    match amount {
        Amount::Usd(amount) => amount.to_pico().unwrap(),
        Amount::PlanTokens(tokens) => i64::try_from(tokens).unwrap(),
    }
}

fn folded(case: &Case, records: &[Vec<u8>]) -> Expected {
    let refs = (0..).zip(records).map(|(offset, payload)| RecordRef { offset: Offset(offset), payload });
    let fold = Fold::decode(refs, |_| true);
    let folded = fold.apply(BTreeMap::new(), BTreeMap::new(), ChainHash::GENESIS);
    let mut expected = Expected {
        head: Head { next: Offset(records.len() as u64), chain: folded.chain },
        loaded: Loaded::default(),
        entries: case.accounts.map(|account| (account, vec![])).into(),
        transfers: BTreeSet::new(),
        quarantined: vec![],
    };
    for (id, state) in folded.accounts {
        expected.loaded.accounts.insert(id, StoredAccount { partition: case.partition, state });
    }
    for entry in folded.entries {
        match (entry.event, entry.outcome) {
            (Some(event), Outcome::Applied(posting)) => {
                expected.loaded.posted.insert(event.id, entry.tag);
                for (index, transfer) in posting.transfers.iter().enumerate() {
                    expected.transfers.insert(format!(
                        "{} {index} {} {} {} {} {}",
                        event.id.0.simple(),
                        transfer.debit,
                        transfer.credit,
                        smallest(transfer.amount),
                        transfer.code.as_str(),
                        transfer.lot.map_or("-".into(), |lot| lot.0.simple().to_string()),
                    ));
                }
                if let Some(detail) = posting.detail {
                    expected.entries.get_mut(&event.subject).unwrap().push(StatementEntry {
                        event_id: event.id,
                        offset: entry.offset,
                        time: event.time,
                        amount_usd: posting.amount,
                        balance_usd: posting.balance,
                        detail,
                    });
                }
            }
            (_, Outcome::Quarantined(reason)) => {
                expected.quarantined.push(format!("{} {}", entry.offset, reason.code()));
            }
            (_, _) => {}
        }
    }
    expected
}

async fn held(stage: &Stage, case: &Case) -> Expected {
    let partition = case.partition.0;
    let ids: BTreeSet<EventId> = (0..150).map(|id| event_id(case.event(id))).collect();
    let mut entries = BTreeMap::new();
    for account in case.accounts {
        entries.insert(account, stage.store.entries(account, None, 1_000).await.unwrap());
    }
    let transfers = stage
        .rows(&format!(
            "SELECT {{id:t.event_id}} || ' ' || idx || ' ' || debit || ' ' || credit || ' ' || {{pico:amount}} || ' ' \
             || code || ' ' || coalesce({{id:lot_id}}, '-') \
             FROM transfers t JOIN postings p ON p.partition_no = t.partition_no AND p.log_offset = t.log_offset \
             AND p.event_id = t.event_id WHERE p.partition_no = {partition}"
        ))
        .await;
    let quarantined = stage
        .rows(&format!(
            "SELECT log_offset || ' ' || reason FROM quarantine WHERE partition_no = {partition} ORDER BY log_offset"
        ))
        .await;
    Expected {
        head: stage.head(case.partition).await,
        loaded: stage.store.load(&case.accounts.into(), &ids).await.unwrap(),
        entries,
        transfers: transfers.into_iter().collect(),
        quarantined,
    }
}

/// Keys too: by hash, the lowest account and key id that holds it.
async fn keys_agree(stage: &Stage, expected: &Expected) {
    for (account, stored) in &expected.loaded.accounts {
        for key in stored.state.keys.values() {
            let found = stage.store.key(&key.hash).await.unwrap().expect("found");
            assert!(found.account.account_id <= *account);
        }
    }
    assert_eq!(stage.store.key(&key_hash(0xff)).await.unwrap(), None);
}

pub(super) async fn any_history_in_any_batches_is_what_the_fold_makes_of_it(stage: Stage) {
    let stage = Arc::new(stage);
    let runtime = tokio::runtime::Handle::current();
    let partitions = AtomicU32::new(0);
    let cases = move || {
        let config =
            ProptestConfig { cases: CASES, failure_persistence: None, max_shrink_iters: 20, ..Default::default() };
        // How much a sink remembers; none is a new sink for every batch, as after a crash.
        let remembered = prop_oneof![Just(None), Just(Some(0)), Just(Some(64 * 2_000)), Just(Some(usize::MAX))];
        let histories =
            (prop::collection::vec(record(), 1..150), prop::collection::vec(1..40_usize, 1..10), remembered);
        TestRunner::new(config).run(&histories, |(history, sizes, remembered)| {
            let case = Case::new(partitions.fetch_add(1, Ordering::Relaxed));
            assert!(case.partition.0 < PARTITIONS, "a partition for each case, shrinking included");
            let records: Vec<_> = history.iter().map(|record| case.encode(record)).collect();
            let expected = folded(&case, &records);
            runtime.block_on(async {
                let remembering = remembered.map(|bytes| stage.sink().remembering(bytes));
                let mut rest = &records[..];
                for size in sizes.iter().cycle() {
                    let (now, later) = rest.split_at((*size).min(rest.len()));
                    match &remembering {
                        Some(sink) => stage.apply_by(sink, case.partition, now).await,
                        None => stage.apply(case.partition, now).await,
                    };
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
                keys_agree(&stage, &expected).await;
                prop_assert_eq!(held(&stage, &case).await, expected);
                Ok(())
            })
        })
    };
    tokio::task::spawn_blocking(cases).await.unwrap().unwrap();
}
