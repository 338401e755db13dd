//! A disk that fails, or is full.

use tempfile::TempDir;

use super::rig::*;
use crate::spool::disk::Step;
use crate::spool::*;

/// While writes fail nothing is admitted; what was admitted before is written elsewhere, once.
async fn survives_failures_of(step: Step) {
    let folder = TempDir::new().unwrap();
    let switch = Switch::default();
    let (spool, _) = open_with(folder.path(), &switch);
    let spool = Arc::new(spool);
    append(&spool, record(0)).await.unwrap();
    let admitted = spool.reserve(200).await.unwrap();
    switch.set(step, true);
    let writing = tokio::spawn({
        let spool = Arc::clone(&spool);
        async move { spool.append(admitted, record(1)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    switch.set(Step::Create, true);
    let refused = loop {
        // Making a file may still have worked a moment ago, which ends the trouble until the next write.
        match spool.reserve(200).await {
            Err(why) => break why,
            Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert!(matches!(&refused, NoRoom::Disk(why) if why.contains("on purpose")), "{refused}");
    switch.set(step, false);
    switch.set(Step::Create, false);
    writing.await.unwrap().unwrap();
    append(&spool, record(2)).await.unwrap();
    drop(spool);
    assert_eq!(open(folder.path()).1, [record(0), record(1), record(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_made_good_elsewhere() {
    survives_failures_of(Step::Write).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_never_believed() {
    survives_failures_of(Step::Sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_never_counts() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::default();
    let (spool, _) = open_as(Config { give_up: Duration::from_secs(2), ..config() }, folder.path(), &switch);
    append(&spool, record(0)).await.unwrap();
    let admitted = spool.reserve(200).await.unwrap();
    switch.set(Step::Sync, true);
    let given_up = spool.append(admitted, record(1)).await.unwrap_err().to_string();
    assert!(given_up.contains("on purpose"), "{given_up}");
    switch.set(Step::Sync, false);
    tokio::time::sleep(config().try_again).await;
    append(&spool, record(2)).await.unwrap();
    let log = FakeLog::open();
    drain(&spool, &log).await;
    assert_eq!(log.records(), [record(0), record(2)]);
}

/// Files that are made at the same time come into use in the order of their numbers, which is what tells the newest.
#[tokio::test(flavor = "multi_thread")]
async fn files_made_at_once_come_into_use_in_order() {
    let folder = TempDir::new().unwrap();
    let (spool, _) = open(folder.path());
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let shared = Arc::clone(&spool.shared);
            std::thread::spawn(move || shared.make_spare(|_| true).unwrap())
        })
        .collect();
    makers.into_iter().for_each(|maker| maker.join().unwrap());
    let numbers: Vec<_> = spool.shared.room().spares.iter().map(|spare| spare.number).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn a_full_disk_is_noticed_before_anything_is_promised() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::default();
    let (spool, _) = open_with(folder.path(), &switch);
    append(&spool, record(0)).await.unwrap();
    switch.set(Step::Create, true);
    // What is there already can be used up.
    let mut promised = Vec::new();
    let refused = loop {
        match spool.reserve(1_000).await {
            Ok(reservation) => promised.push(reservation),
            Err(why) => break why,
        }
    };
    assert!(matches!(&refused, NoRoom::Disk(why) if why.contains("no space left")), "{refused}");
    assert!(promised.len() > 200, "{}", promised.len());
    let tries = switch.count(Step::Create);
    for _ in 0..100 {
        assert!(spool.reserve(1_000).await.is_err());
    }
    assert!(switch.count(Step::Create) <= tries + 20, "every refusal tried to make a file");
    for (n, reservation) in promised.into_iter().enumerate() {
        spool.append(reservation, sized(n, 1_000)).await.unwrap();
    }
    switch.set(Step::Create, false);
    tokio::time::sleep(config().try_again).await;
    append(&spool, record(1)).await.unwrap();
}
