//! What a sink remembers between batches: faster, and never anything else than what the store would say.

use std::collections::BTreeSet;

use eventlog::{Batch, Sink as _, SinkError};
use ledger::LedgerSink;
use ledger::store::Fate;
use schemas::{AccountId, Offset, PartitionId, Position};

use super::events::{event_id, grant, key, open, usage, usd};
use super::stage::{Stage, account_in, batch};

const HERE: PartitionId = PartitionId(9);
const THERE: PartitionId = PartitionId(10);

async fn balance(stage: &Stage, account: AccountId) -> String {
    let loaded = stage.store.load(&BTreeSet::from([account]), &BTreeSet::new()).await.unwrap();
    loaded.accounts[&account].state.balance().unwrap().to_string()
}

async fn postings(stage: &Stage) -> i64 {
    stage.counts().await[3]
}

fn at(partition: PartitionId, from: u64, payloads: &[Vec<u8>]) -> Batch {
    batch(partition, Offset(from), payloads)
}

async fn is_moved(sink: &LedgerSink, batch: Batch) {
    let refused = sink.apply(batch).await.unwrap_err();
    assert!(matches!(refused, SinkError::Moved), "{refused}");
}

/// Two sinks take turns at one partition, neither knowing of the other.
pub(super) async fn a_sink_that_lost_its_partition_writes_nothing(stage: Stage) {
    let account = account_in(HERE, 0);
    let (one, other) = (stage.sink(), stage.sink());
    one.apply(at(HERE, 0, &[open(account, 1), grant(account, 2, 1, usd("5"), 1)])).await.unwrap();
    one.apply(at(HERE, 2, &[usage(account, 3, 1_000_000, "1")])).await.unwrap();
    other.apply(at(HERE, 3, &[usage(account, 4, 1_000_000, "1")])).await.unwrap();
    assert_eq!(balance(&stage, account).await, "3");

    let before = (stage.head(HERE).await, stage.counts().await);
    is_moved(&one, at(HERE, 3, &[usage(account, 5, 1_000_000, "1")])).await;
    assert_eq!((stage.head(HERE).await, stage.counts().await), before);
    // It remembers nothing of before: with the next batch that fits, it is right again.
    one.apply(at(HERE, 4, &[usage(account, 5, 1_000_000, "1")])).await.unwrap();
    assert_eq!(balance(&stage, account).await, "2");
    // A sink whose turn it is not is refused from memory, too.
    is_moved(&one, at(HERE, 3, &[usage(account, 6, 1_000_000, "1")])).await;
    is_moved(&other, at(HERE, 4, &[usage(account, 6, 1_000_000, "1")])).await;
    assert_eq!(other.position(HERE).await.unwrap(), Offset(5));
    other.apply(at(HERE, 5, &[usage(account, 6, 1_000_000, "1")])).await.unwrap();
    assert_eq!((balance(&stage, account).await, postings(&stage).await), ("1".to_owned(), 6));
}

/// In one batch, in the next, and by a sink that does not remember the first time.
pub(super) async fn a_repeat_is_one_whatever_is_remembered(stage: Stage) {
    let account = account_in(HERE, 0);
    let used = |id| usage(account, id, 1_000_000, "0.01");
    let sink = stage.sink();
    sink.apply(at(HERE, 0, &[open(account, 1), grant(account, 2, 1, usd("5"), 1), used(3), used(3)])).await.unwrap();
    sink.apply(at(HERE, 4, &[used(3), used(4), grant(account, 2, 1, usd("5"), 1), used(4)])).await.unwrap();
    assert_eq!((balance(&stage, account).await, postings(&stage).await), ("4.98".to_owned(), 4));

    let forgetful = stage.sink();
    forgetful.apply(at(HERE, 8, &[used(5), used(3), used(6)])).await.unwrap();
    assert_eq!((balance(&stage, account).await, postings(&stage).await), ("4.96".to_owned(), 6));
    forgetful.apply(at(HERE, 11, &[used(4), used(6), open(account, 1), used(7)])).await.unwrap();
    assert_eq!((balance(&stage, account).await, postings(&stage).await), ("4.95".to_owned(), 7));
    // Repeats that could not post as new events either.
    stage.sink().apply(at(HERE, 15, &[grant(account, 2, 1, usd("5"), 1)])).await.unwrap();
    stage.sink().apply(at(HERE, 16, &[open(account, 1)])).await.unwrap();
    assert_eq!((balance(&stage, account).await, stage.head(HERE).await.next), ("4.95".to_owned(), Offset(17)));
    let quarantined = stage.rows("SELECT reason FROM quarantine").await;
    assert_eq!(quarantined, [""; 0], "a repeat is no fault");
    let fates = (1..=7).map(event_id).collect();
    let posted = stage.store.load(&BTreeSet::new(), &fates).await.unwrap().posted;
    assert_eq!(posted.into_keys().collect::<BTreeSet<_>>(), fates);
}

/// In one batch, in the next, by a sink that does not remember the first time, and in another partition: each time it is the
/// first that counts, and the second is named.
pub(super) async fn an_id_used_again_for_another_fact_is_named(stage: Stage) {
    let (account, there) = (account_in(HERE, 0), account_in(THERE, 0));
    let used = |id, price| usage(account, id, 1_000_000, price);
    let sink = stage.sink();
    let first = [open(account, 1), grant(account, 2, 1, usd("5"), 1), used(3, "1"), used(3, "2"), used(3, "1")];
    sink.apply(at(HERE, 0, &first)).await.unwrap();
    sink.apply(at(HERE, 5, &[used(3, "2"), used(4, "1"), key(account, 2, 1, 1)])).await.unwrap();
    let forgetful = stage.sink();
    forgetful.apply(at(HERE, 8, &[used(4, "2"), used(4, "1"), used(5, "1")])).await.unwrap();
    stage.sink().apply(at(HERE, 11, &[used(4, "2")])).await.unwrap();
    stage.sink().apply(at(THERE, 0, &[open(there, 6), usage(there, 5, 1_000_000, "1"), open(there, 6)])).await.unwrap();
    assert_eq!((balance(&stage, account).await, balance(&stage, there).await), ("2".to_owned(), "0".to_owned()));
    assert_eq!(postings(&stage).await, 6);
    let rows = "SELECT CAST(partition_no AS text) || ':' || CAST(log_offset AS text) || ' ' || reason FROM quarantine \
                ORDER BY partition_no, log_offset";
    let at_places = [(HERE, 3), (HERE, 5), (HERE, 7), (HERE, 8), (HERE, 11), (THERE, 1)];
    assert_eq!(stage.rows(rows).await, at_places.map(|(partition, at)| format!("{partition}:{at} id_reused")));
    let Some(Fate::Quarantined { reason, .. }) = fate(&stage, 4, HERE, 8).await else {
        panic!("its own record's fate")
    };
    assert_eq!(reason, "id_reused");
    let Some(Fate::Posted { amount, .. }) = fate(&stage, 4, HERE, 9).await else { panic!("a repeat is posted") };
    assert_eq!(amount, usd("-1"));
}

async fn fate(stage: &Stage, id: u128, partition: PartitionId, at: u64) -> Option<Fate> {
    stage.store.fate(event_id(id), Position { partition, offset: Offset(at) }).await.unwrap()
}

pub(super) async fn a_repeat_of_another_partition_is_found(stage: Stage) {
    let (here, there) = (account_in(HERE, 0), account_in(THERE, 0));
    let sink = stage.sink();
    sink.apply(at(HERE, 0, &[open(here, 1), grant(here, 2, 1, usd("5"), 1)])).await.unwrap();
    sink.apply(at(THERE, 0, &[open(there, 3), grant(there, 4, 2, usd("7"), 1)])).await.unwrap();
    sink.apply(at(THERE, 2, &[usage(there, 5, 1_000_000, "1"), grant(there, 2, 3, usd("9"), 1)])).await.unwrap();
    sink.apply(at(THERE, 4, &[grant(there, 2, 3, usd("9"), 1), usage(there, 6, 1_000_000, "1")])).await.unwrap();
    assert_eq!((balance(&stage, here).await, balance(&stage, there).await), ("5".to_owned(), "5".to_owned()));
    assert_eq!((stage.head(THERE).await.next, postings(&stage).await), (Offset(6), 6));
    assert_eq!(stage.rows("SELECT reason FROM quarantine").await, ["id_reused"; 2], "it is another account's");
}

pub(super) async fn what_was_decoded_ahead_is_used_for_those_bytes_only(stage: Stage) {
    let account = account_in(HERE, 0);
    let sink = stage.sink();
    let first = at(HERE, 0, &[open(account, 1), grant(account, 2, 1, usd("5"), 1)]);
    sink.prepare(&first).await;
    sink.apply(first).await.unwrap();
    sink.prepare(&at(HERE, 2, &[usage(account, 3, 1_000_000, "1")])).await;
    // The same place, and other bytes: as after a log was restored.
    sink.apply(at(HERE, 2, &[usage(account, 4, 2_000_000, "1")])).await.unwrap();
    assert_eq!(balance(&stage, account).await, "3");
    sink.prepare(&at(HERE, 3, &[usage(account, 5, 1_000_000, "1")])).await;
    sink.apply(at(HERE, 3, &[usage(account, 5, 1_000_000, "1"), usage(account, 6, 1_000_000, "1")])).await.unwrap();
    assert_eq!((balance(&stage, account).await, postings(&stage).await), ("1".to_owned(), 5));
}

/// With memory for no account, for a few, and for all of them.
pub(super) async fn accounts_that_were_forgotten_are_loaded_again(stage: Stage) {
    for (partition, bytes) in [(11, 0), (12, 64 * 3_000), (13, usize::MAX)] {
        let here = PartitionId(partition);
        let sink = stage.sink().remembering(bytes);
        let accounts: Vec<AccountId> = (0..8).map(|n| account_in(here, n)).collect();
        let id = |n: usize| u128::from(partition) << 32 | u128::try_from(n).unwrap();
        let mut from = 0;
        for (n, account) in accounts.iter().enumerate() {
            let (opened, granted) = (open(*account, id(n)), grant(*account, id(100 + n), id(n), usd("5"), 1));
            sink.apply(at(here, from, &[opened, granted])).await.unwrap();
            from += 2;
        }
        for round in 0..5 {
            for (n, account) in accounts.iter().enumerate().skip(round) {
                sink.apply(at(here, from, &[usage(*account, id(1_000 * (round + 1) + n), 1_000_000, "1")]))
                    .await
                    .unwrap();
                from += 1;
            }
        }
        for (n, account) in accounts.iter().enumerate() {
            let left = 5 - (n + 1).min(5);
            assert_eq!(balance(&stage, *account).await, left.to_string(), "{bytes} bytes, account {n}");
        }
    }
}
