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

/// Readers are kept and go from one partition to another: whoever read what before, a batch is what is there.
pub(super) async fn partitions_are_read_in_whatever_order_and_at_once(stage: Stage) {
    let log = stage.open().await;
    let mut held: Vec<Vec<String>> = partitions().map(|_| Vec::new()).collect();
    let mut at = [0_usize; 3];
    let mut random = 1_u32;
    let mut below = |bound: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as usize % bound
    };
    for round in 0..150 {
        let more = below(3);
        let payload = format!("{round} of partition {more}");
        append(&*log, account_in(PartitionId(u32::try_from(more).unwrap())), payload.clone()).await;
        held[more].push(payload);
        // One after another or together, on from where the last read ended or from anywhere, up to the end or not.
        let which = if below(4) == 0 { 0..3 } else { below(3)..3 };
        let asked: Vec<_> = which
            .take(1 + 2 * below(2))
            .map(|number| {
                let from = if below(3) == 0 { below(held[number].len() + 1) } else { at[number] };
                (number, from, Bounds { records: 1 + below(6), bytes: 1 + below(120) })
            })
            .collect();
        let reads = asked.iter().map(|(number, from, bounds)| {
            log.read(PartitionId(u32::try_from(*number).unwrap()), Offset(*from as u64), *bounds)
        });
        let batches = futures_util::future::join_all(reads).await;
        for ((number, from, bounds), batch) in asked.into_iter().zip(batches) {
            let batch = batch.unwrap();
            let to = from + fitting(&held[number][from..], bounds);
            let found: Vec<_> = batch.records.iter().map(|record| record.payload.clone()).collect();
            assert_eq!(found, held[number][from..to], "round {round}: partition {number} from {from}, {bounds:?}");
            assert_eq!((batch.from, batch.next), (Offset(from as u64), Offset(to as u64)));
            at[number] = to;
        }
    }
}

/// How many of these are one batch.
fn fitting(payloads: &[String], bounds: Bounds) -> usize {
    let fits = |count: &usize| payloads[..*count].iter().map(String::len).sum::<usize>() <= bounds.bytes;
    let most = payloads.len().min(bounds.records);
    (0..=most).rev().find(fits).unwrap_or(0).max(most.min(1))
}
