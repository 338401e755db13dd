//! One transaction a batch: all of it or nothing, and from one position only.

use std::collections::BTreeSet;

use accounting::{AccountState, Amount, ChainHash, Code, FactTag, LedgerAccount, Lot, Transfer};
use eventlog::SinkError;
use ledger::StoreError;
use ledger::store::commit::{PostingRow, TransferRow};
use ledger::store::{Commit, Head};
use schemas::api::LotSource;
use schemas::{AccountId, Offset, PartitionId, Timestamp, Usd};

use super::events::{self, event_id, grant, key, key_hash, key_id, lot_id, open, revoke, usage, usd};
use super::stage::{Stage, account_in, batch};

const HERE: PartitionId = PartitionId(3);
const THERE: PartitionId = PartitionId(4);

/// A commit of nothing but a position.
pub(super) fn empty(partition: PartitionId, from: u64, next: u64) -> Commit {
    Commit {
        partition,
        from: Offset(from),
        from_chain: head(from).chain,
        next: Offset(next),
        chain: head(next).chain,
        last_record: head(next).chain,
        accounts: vec![],
        lots: vec![],
        emptied_lots: vec![],
        keys: vec![],
        dropped_keys: vec![],
        renewals: vec![],
        postings: vec![],
        transfers: vec![],
        quarantined: vec![],
        invoices: vec![],
        draws: Vec::new(),
        repeats: Vec::new(),
    }
}

fn head(next: u64) -> Head {
    Head { next: Offset(next), chain: ChainHash([u8::try_from(next).unwrap(); 32]) }
}

pub(super) fn posting(account_id: AccountId, id: u128, offset: u64) -> PostingRow {
    PostingRow {
        event_id: event_id(id),
        account_id,
        offset: Offset(offset),
        event_type: "key.issued",
        time: Timestamp::from_micros(1),
        amount: Usd::ZERO,
        balance: Usd::ZERO,
        detail: None,
        chain_tag: 0,
        fact_tag: FactTag(0),
    }
}

pub(super) fn transfer(id: u128, amount: Usd, from: LedgerAccount, to: LedgerAccount) -> TransferRow {
    let amount = Amount::Usd(amount);
    let transfer = Transfer { debit: to, credit: from, amount, code: Code::Usage, lot: None };
    TransferRow { event_id: event_id(id), offset: Offset(0), index: 0, transfer }
}

pub(super) fn state(id: AccountId, debt: Usd) -> (AccountState, Usd) {
    let state = AccountState {
        id,
        opened_at: Timestamp::from_micros(1),
        closed: false,
        suspensions: [].into(),
        plan: events::plan(),
        paid: false,
        keys: [].into(),
        lots: vec![],
        lots_opened: 0,
        debt,
        subscription: None,
        payments: [].into(),
        disputes: [].into(),
        decided_disputes: [].into(),
        corrections: [].into(),
        invoices_issued: 0,
        version: Offset(0),
    };
    (state, debt.negated())
}

pub(super) fn lot(amount: Usd, remaining: Usd) -> Lot {
    Lot { id: lot_id(1), source: LotSource::Trial, amount, remaining, priority: 255, expires_at: None, sequence: 0 }
}

pub(super) async fn the_position_moves_only_from_where_it_is(stage: Stage) {
    let check = async |partition, from, next, moves: bool, after: Head| {
        let result = stage.store.commit(&empty(partition, from, next)).await;
        match result {
            Ok(()) => assert!(moves, "{partition}: {from} → {next}"),
            Err(StoreError::Moved) => assert!(!moves, "{partition}: {from} → {next}"),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(stage.head(partition).await, after, "{partition}: {from} → {next}");
    };
    check(HERE, 1, 2, false, Head::START).await;
    check(HERE, 0, 3, true, head(3)).await;
    check(HERE, 0, 3, false, head(3)).await;
    check(HERE, 2, 4, false, head(3)).await;
    check(HERE, 4, 5, false, head(3)).await;
    check(THERE, 3, 4, false, Head::START).await;
    check(THERE, 0, 1, true, head(1)).await;
    let mut elsewhere = empty(HERE, 3, 9);
    elsewhere.from_chain = head(4).chain;
    assert!(matches!(stage.store.commit(&elsewhere).await, Err(StoreError::Moved)), "the same place in another log");
    check(HERE, 3, 9, true, head(9)).await;
    check(PartitionId(u32::MAX), 0, 1, true, head(1)).await;
}

pub(super) async fn a_commit_that_fails_leaves_nothing(stage: Stage) {
    let (account, other) = (account_in(HERE, 0), account_in(HERE, 1));
    stage.apply(HERE, &[open(account, 1), grant(account, 2, 1, usd("5"), 1)]).await;
    let before = (stage.head(HERE).await, stage.counts().await);
    let known = stage.store.load(&BTreeSet::from([account, other]), &BTreeSet::new()).await.unwrap();

    let mut commit = empty(HERE, 2, 9);
    commit.from_chain = before.0.chain;
    commit.accounts = vec![state(account, usd("1")), state(other, Usd::ZERO)];
    commit.lots = vec![(other, lot(usd("2"), usd("1")))];
    commit.emptied_lots = vec![(account, lot_id(1))];
    commit.keys = vec![(
        other,
        key_id(1),
        accounting::Key {
            hash: key_hash(1),
            name: "k".into(),
            hint: "h".into(),
            limits: schemas::event::KeyLimits::default(),
            used: None,
        },
    )];
    commit.postings = vec![posting(account, 10, 2), posting(account, 2, 3), posting(account, 11, 4)];
    commit.transfers =
        vec![transfer(10, usd("1"), LedgerAccount::UsageRevenue("m".into()), LedgerAccount::CustomerDebt(account))];
    let error = stage.store.commit(&commit).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyPosted), "the id of event 2 is posted: {error}");
    assert_eq!((stage.head(HERE).await, stage.counts().await), before);
    assert_eq!(stage.store.load(&BTreeSet::from([account, other]), &BTreeSet::new()).await.unwrap(), known);

    commit.postings.remove(1);
    stage.store.commit(&commit).await.unwrap();
    assert_eq!(stage.head(HERE).await, head(9));
    assert_eq!(stage.counts().await, [2, 1, 1, 4, 2, 0, 0, 1]);
}

pub(super) async fn what_no_ledger_may_hold_is_refused(stage: Stage) {
    let account = account_in(HERE, 0);
    let (revenue, debt) = (LedgerAccount::UsageRevenue("m".into()), LedgerAccount::CustomerDebt(account));
    let check = async |name: &str, change: &dyn Fn(&mut Commit)| {
        let mut commit = empty(HERE, 0, 1);
        change(&mut commit);
        let error = stage.store.commit(&commit).await.expect_err(name);
        assert!(matches!(error, StoreError::Unavailable { .. }), "{name}: {error}");
        assert_eq!(stage.counts().await, [0; 8], "{name}");
    };
    check("a lot below zero", &|commit| commit.lots = vec![(account, lot(usd("1"), usd("-0.000000000001")))]).await;
    check("a lot above its amount", &|commit| commit.lots = vec![(account, lot(usd("1"), usd("1.000000000001")))])
        .await;
    check("a debt below zero", &|commit| commit.accounts = vec![state(account, usd("-0.000000000001"))]).await;
    check("a transfer of nothing", &|commit| {
        commit.transfers = vec![transfer(1, Usd::ZERO, revenue.clone(), debt.clone())];
    })
    .await;
    check("a transfer below zero", &|commit| {
        commit.transfers = vec![transfer(1, usd("-1"), revenue.clone(), debt.clone())];
    })
    .await;
    check("a transfer to itself", &|commit| {
        commit.transfers = vec![transfer(1, usd("1"), debt.clone(), debt.clone())];
    })
    .await;
}

pub(super) async fn of_concurrent_committers_exactly_one_wins(stage: Stage) {
    let account = account_in(HERE, 0);
    for round in 0..5_u64 {
        let from_chain = stage.head(HERE).await.chain;
        let commits = (0..8_u64).map(|committer| {
            let mut commit = empty(HERE, round * 10, (round + 1) * 10);
            commit.from_chain = from_chain;
            commit.chain = ChainHash([u8::try_from(committer).unwrap(); 32]);
            commit.postings = vec![posting(account, u128::from(round * 100 + committer), round * 10)];
            let store = std::sync::Arc::clone(&stage.store);
            tokio::spawn(async move { (committer, store.commit(&commit).await) })
        });
        let mut winners = vec![];
        for commit in commits.collect::<Vec<_>>() {
            match commit.await.unwrap() {
                (committer, Ok(())) => winners.push(committer),
                (_, Err(StoreError::Moved)) => {}
                (_, Err(error)) => panic!("{error}"),
            }
        }
        let [winner] = winners[..] else { panic!("{winners:?} won") };
        let head = stage.head(HERE).await;
        assert_eq!((head.next, head.chain.0[0]), (Offset((round + 1) * 10), u8::try_from(winner).unwrap()));
        let posted =
            stage.rows(&format!("SELECT {{id:event_id}} FROM postings WHERE log_offset = {}", round * 10)).await;
        assert_eq!(posted, [event_id(u128::from(round * 100 + winner)).0.simple().to_string()]);
    }
}

/// As the sink does it: an id that another partition posted is a repeat.
pub(super) async fn an_event_id_posts_once_in_all_partitions(stage: Stage) {
    let (here, there) = (account_in(HERE, 0), account_in(THERE, 0));
    stage.apply(HERE, &[open(here, 1), grant(here, 2, 1, usd("5"), 1)]).await;
    stage.apply(THERE, &[open(there, 3), grant(there, 2, 1, usd("7"), 1), grant(there, 4, 2, usd("9"), 1)]).await;
    let loaded = stage.store.load(&BTreeSet::from([here, there]), &BTreeSet::new()).await.unwrap();
    let balance = |account| loaded.accounts[&account].state.balance().unwrap();
    assert_eq!((balance(here), balance(there)), (usd("5"), usd("9")));
    let refused = stage.try_apply(batch(THERE, Offset(0), &[open(there, 5)])).await.unwrap_err();
    assert!(matches!(refused, SinkError::Moved), "{refused}");

    let mut late = empty(HERE, 2, 3);
    late.from_chain = stage.head(HERE).await.chain;
    late.postings = vec![posting(here, 4, 2)];
    assert!(matches!(stage.store.commit(&late).await.unwrap_err(), StoreError::AlreadyPosted));
}

pub(super) async fn a_record_that_cannot_post_is_kept_as_it_is(stage: Stage) {
    let (account, stranger) = (account_in(HERE, 0), account_in(THERE, 0));
    let nul = br#"{"specversion":"1.0","\u0000":1,"id":"\u0000"}"#.to_vec();
    let long = format!("{{\"specversion\":\"{}\"}}", "é".repeat(1_500)).into_bytes();
    let records = [
        vec![0, 0xff, b'\''],
        open(stranger, 1),
        grant(account, 2, 1, usd("5"), 1),
        nul,
        long,
        open(account, 3),
        vec![],
    ];
    stage.apply(HERE, &records).await;
    let event = |id: u128, account: AccountId| format!("{}/{}", event_id(id).0.simple(), account.0.simple());
    let kept = stage
        .rows(
            "SELECT log_offset || ' ' || reason || ' ' || coalesce({id:event_id} || '/' || {id:account_id}, '-') || ' ' \
             || {hex:record} FROM quarantine WHERE partition_no = 3 ORDER BY log_offset",
        )
        .await;
    let hex = |record: &[u8]| record.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let expected = [
        (0, "undecodable", "-".to_owned()),
        (1, "misrouted", event(1, stranger)),
        (2, "unknown_account", event(2, account)),
        (3, "undecodable", "-".to_owned()),
        (4, "undecodable", "-".to_owned()),
        (6, "undecodable", "-".to_owned()),
    ];
    for (kept, (at, reason, event)) in kept.iter().zip(&expected) {
        assert_eq!(*kept, format!("{at} {reason} {event} {}", hex(&records[*at])));
    }
    assert_eq!(kept.len(), expected.len());
    assert_eq!(stage.head(HERE).await.next, Offset(7));
    let longest = stage.rows("SELECT CAST(max(length(detail)) AS text) FROM quarantine").await;
    assert!(longest[0].parse::<u32>().unwrap() <= 1_000, "{longest:?}");
    assert_eq!(stage.counts().await, [1, 0, 0, 1, 0, 6, 0, 1]);
}

pub(super) async fn emptied_lots_and_dropped_keys_are_gone(stage: Stage) {
    let account = account_in(HERE, 0);
    let (one, two) = (grant(account, 2, 1, usd("1"), 1), grant(account, 3, 2, usd("1"), 1));
    stage.apply(HERE, &[open(account, 1), one, two, key(account, 4, 1, 1), key(account, 5, 2, 2)]).await;
    let shown = async || {
        let loaded = stage.store.load(&BTreeSet::from([account]), &BTreeSet::new()).await.unwrap();
        let held = &loaded.accounts[&account].state;
        let lots: Vec<_> = held.lots.iter().map(|lot| (lot.id, lot.remaining.to_string())).collect();
        (lots, held.keys.keys().copied().collect::<Vec<_>>())
    };
    let both = vec![key_id(1), key_id(2)];
    assert_eq!(shown().await, (vec![(lot_id(1), "1".into()), (lot_id(2), "1".into())], both.clone()));
    stage.apply(HERE, &[usage(account, 6, 1_500_000, "1")]).await;
    assert_eq!(shown().await, (vec![(lot_id(2), "0.5".into())], both));
    assert_eq!(stage.counts().await[..2], [1, 1]);

    stage.apply(HERE, &[revoke(account, 7, 1)]).await;
    assert_eq!(shown().await, (vec![(lot_id(2), "0.5".into())], vec![key_id(2)]));
    assert_eq!(stage.store.key(&key_hash(1)).await.unwrap(), None);
}
