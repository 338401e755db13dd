//! What is appended is drained, in order, whatever ends in between.

use std::sync::atomic::Ordering;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::rig::*;
use crate::spool::*;

#[tokio::test]
async fn what_is_appended_is_drained_in_order_and_told() {
    let folder = TempDir::new().unwrap();
    let (spool, waiting) = open(folder.path());
    assert_eq!(waiting, []);
    let records: Vec<_> = (0..3_000).map(record).collect();
    for record in &records {
        append(&spool, record.clone()).await.unwrap();
    }
    assert_eq!(spool.status().records, 3_000);
    assert!(spool.status().oldest.is_some());
    let log = FakeLog::open();
    let told = drain(&spool, &log).await;
    assert_eq!(log.records(), records);
    assert_eq!(told, records.iter().cloned().zip(0..).collect::<Vec<_>>());
    assert_eq!((spool.status().records, spool.status().oldest), (0, None));
    // Those that are drained are gone, but for the one that is written.
    assert!(spool.status().bytes <= 2 * config().segment_bytes(), "{:?}", spool.status());
    assert_eq!(drain(&spool, &log).await, []);
    drop(spool);
    assert_eq!(open(folder.path()).1, []);
}

#[tokio::test]
async fn what_waits_when_a_process_ends_waits_for_the_next_one() {
    let folder = TempDir::new().unwrap();
    let mut appended = Vec::new();
    // Each start goes on in a file of its own, and none of them grows the spool by a whole one.
    for start in 0..40 {
        let (spool, waiting) = open(folder.path());
        assert_eq!(waiting, appended, "start {start}");
        assert_eq!(spool.status().records, appended.len() as u64, "start {start}");
        for _ in 0..3 {
            appended.push(record(appended.len()));
            append(&spool, appended.last().unwrap().clone()).await.unwrap();
        }
    }
    let (spool, waiting) = open(folder.path());
    assert_eq!(waiting, appended);
    let log = FakeLog::open();
    drain(&spool, &log).await;
    assert_eq!(log.records(), appended);
}

#[tokio::test]
async fn a_start_goes_on_where_draining_was_noted() {
    let folder = TempDir::new().unwrap();
    let (spool, _) = open(folder.path());
    let records: Vec<_> = (0..5_000).map(|n| sized(n, 100)).collect();
    for record in &records {
        append(&spool, record.clone()).await.unwrap();
    }
    let log = FakeLog::new(2_500);
    let told = Arc::new(Told::default());
    let stuck =
        tokio::time::timeout(Duration::from_secs(2), spool.drain(log.clone(), told.clone(), CancellationToken::new()));
    assert!(stuck.await.is_err());
    assert_eq!(log.records(), records[..2_500]);
    let noted = told.0.lock().unwrap().len();
    assert!((1_000..=2_500).contains(&noted), "{noted}");
    drop(spool);
    let (spool, waiting) = open(folder.path());
    assert_eq!(waiting, records[noted..]);
    let log = FakeLog::open();
    drain(&spool, &log).await;
    assert_eq!(log.records(), records[noted..]);
}

#[tokio::test]
async fn a_record_that_the_log_does_not_confirm_is_appended_again() {
    let folder = TempDir::new().unwrap();
    let (spool, _) = open(folder.path());
    for n in 0..10 {
        append(&spool, record(n)).await.unwrap();
    }
    let log = FakeLog::open();
    log.failures.store(20, Ordering::SeqCst);
    let told = drain(&spool, &log).await;
    assert_eq!(log.records(), (0..10).map(record).collect::<Vec<_>>());
    assert_eq!(told.len(), 10);
    // Where the log takes a later record and not the one before it, that one is appended alone.
    for n in 10..20 {
        append(&spool, record(n)).await.unwrap();
    }
    log.failures.store(3, Ordering::SeqCst);
    let told = drain(&spool, &log).await;
    assert_eq!(log.records()[10..], [13, 14, 15, 16, 17, 18, 19, 10, 11, 12].map(record));
    assert_eq!(told.len(), 10);
}

#[test]
fn two_processes_never_have_one_folder() {
    let folder = TempDir::new().unwrap();
    let (spool, _) = open(folder.path());
    let error = Spool::open(folder.path(), config(), |_| {}).err().unwrap().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    drop(spool);
    open(folder.path());
}
