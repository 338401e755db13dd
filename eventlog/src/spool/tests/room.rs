//! Room is promised first, and what is promised fits.

use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::rig::*;
use crate::spool::disk::Step;
use crate::spool::*;

/// Whatever is promised fits, in records of every size, and the limit holds.
async fn fill(folder: &Path, sizes: &[usize]) -> (Spool, Vec<Record>) {
    let (spool, _) = open(folder);
    let mut promised = Vec::new();
    for (n, size) in (0..).zip(sizes.iter().cycle()) {
        match spool.reserve(*size).await {
            Ok(reservation) => promised.push((reservation, sized(n, *size))),
            Err(why) => {
                assert_eq!(why, NoRoom::Full { max_bytes: MIN_BYTES });
                break;
            }
        }
    }
    let mut appended = Vec::new();
    for (reservation, record) in promised {
        spool.append(reservation, record.clone()).await.unwrap();
        assert!(spool.status().bytes <= MIN_BYTES, "{:?}", spool.status());
        appended.push(record);
    }
    (spool, appended)
}

#[tokio::test]
async fn a_full_spool_promises_nothing_and_drains_empty() {
    let folder = TempDir::new().unwrap();
    let (spool, appended) = fill(folder.path(), &[1_000]).await;
    assert!(appended.len() > 900, "{} records of a kilobyte in a mebibyte", appended.len());
    let mut appended = appended;
    while let Ok(reservation) = spool.reserve(1_000).await {
        appended.push(sized(appended.len(), 1_000));
        spool.append(reservation, appended[appended.len() - 1].clone()).await.unwrap();
    }
    assert_eq!(spool.reserve(1_000).await.err().unwrap(), NoRoom::Full { max_bytes: MIN_BYTES });
    let log = FakeLog::open();
    drain(&spool, &log).await;
    assert_eq!(log.records(), appended);
    append(&spool, record(0)).await.unwrap();
    assert_eq!(spool.status().reserved_bytes, 0);
}

#[tokio::test]
async fn a_promise_that_is_not_used_is_room_again() {
    let folder = TempDir::new().unwrap();
    let (spool, _) = open(folder.path());
    for _ in 0..3 {
        let mut promised = Vec::new();
        while let Ok(reservation) = spool.reserve(10_000).await {
            promised.push(reservation);
        }
        assert!(promised.len() >= 80, "{}", promised.len());
    }
    assert_eq!(spool.status().reserved_bytes, 0);
    let too_large = spool.reserve(frame::MAX_PAYLOAD_BYTES + 1).await.err().unwrap();
    assert!(matches!(too_large, NoRoom::TooLarge { .. }), "{too_large}");
}

#[tokio::test]
async fn appends_that_wait_share_a_sync() {
    let folder = TempDir::new().unwrap();
    let switch = Switch::default();
    let (spool, _) = open_with(folder.path(), &switch);
    let spool = Arc::new(spool);
    let appends: Vec<_> = (0..1_000)
        .map(|n| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move { append(&spool, record(n)).await.unwrap() })
        })
        .collect();
    for append in appends {
        append.await.unwrap();
    }
    let syncs = switch.count(Step::Sync);
    assert!(syncs < 500, "{syncs} syncs for 1,000 appends");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_promised_fits(sizes in prop::collection::vec(1_usize..=frame::MAX_PAYLOAD_BYTES, 1..8)) {
        let folder = TempDir::new().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (spool, appended) = runtime.block_on(fill(folder.path(), &sizes));
        drop(spool);
        prop_assert!(open(folder.path()).1 == appended);
    }
}
