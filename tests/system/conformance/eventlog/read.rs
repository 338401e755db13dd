//! Reading from a position.

use std::time::Duration;

use eventlog::Bounds;
use schemas::{Offset, PartitionId};
use tokio::time::Instant;

use super::stage::{Stage, account_in, append, append_some, partitions};

const PARTITION: PartitionId = PartitionId(2);

pub(super) async fn a_batch_keeps_its_bounds_and_has_at_least_one_record(stage: Stage) {
    let log = stage.open().await;
    let sizes = [100, 100, 300, 50, 0, 50, 1_000, 10];
    for size in sizes {
        append(&*log, account_in(PARTITION), vec![b'x'; size]).await;
    }
    // From, most records, most bytes: how many come.
    for (from, records, bytes, expected) in [
        (0, 100, 1_000_000, 8),
        (3, 100, 1_000_000, 5),
        (7, 100, 1_000_000, 1),
        (0, 3, 1_000_000, 3),
        (3, 3, 1_000_000, 3),
        (6, 3, 1_000_000, 2),
        (0, 100, 200, 2),
        (0, 100, 199, 1),
        (0, 100, 500, 3),
        (3, 100, 100, 3),
        (0, 1, 1, 1),
        (0, 0, 0, 1),
        (6, 100, 10, 1),
        // Back, and on from within what may have been fetched ahead.
        (0, 100, 600, 6),
        (1, 2, 1_000_000, 2),
        (3, 2, 1_000_000, 2),
    ] {
        let bounds = Bounds { records, bytes };
        let batch = log.read(PARTITION, Offset(from), bounds).await.unwrap();
        let found: Vec<_> = batch.records.iter().map(|record| (record.offset.0, record.payload.len())).collect();
        let all: Vec<_> = (0..).zip(sizes).collect();
        let begin = usize::try_from(from).unwrap();
        assert_eq!(found, all[begin..begin + expected], "from {from}, {bounds:?}");
        assert_eq!((batch.partition, batch.from), (PARTITION, Offset(from)));
        assert_eq!(batch.next, Offset(from + expected as u64), "from {from}, {bounds:?}");
    }
}

pub(super) async fn at_the_end_there_is_nothing_and_no_wait(stage: Stage) {
    let log = stage.open().await;
    append_some(&*log, 0, 20).await;
    for partition in partitions() {
        let end = log.end(partition).await.unwrap();
        let begun = Instant::now();
        let batch = log.read(partition, end, Bounds::default()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!((batch.partition, batch.from, batch.next), (partition, end, end));
        assert_eq!(batch.records, []);
    }
}

pub(super) async fn a_position_that_the_log_does_not_have_is_named(stage: Stage) {
    let log = stage.open().await;
    append(&*log, account_in(PARTITION), "only").await;
    let beyond = log.read(PARTITION, Offset(4711), Bounds::default()).await.unwrap_err().to_string();
    assert!(beyond.contains("partition 2") && beyond.contains("4711") && beyond.contains("before 1"), "{beyond}");
    for error in [
        log.end(PartitionId(3)).await.unwrap_err(),
        log.read(PartitionId(3), Offset(0), Bounds::default()).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("no partition 3: the log has 3"), "{error}");
    }
}
