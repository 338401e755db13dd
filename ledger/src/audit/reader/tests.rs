use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{AppendError, Record, Sink, StoredRecord};
use schemas::Position;
use tokio_util::sync::CancellationToken;

use super::*;

const END: u64 = 30_000;

/// A log that fails as it is told to.
struct Troubled {
    /// A read that holds this record fails.
    bad: Option<u64>,
    /// So many reads fail from this one on, whatever they ask for.
    away: (usize, usize),
    /// What was read so far: from where, and how many records.
    reads: Mutex<Vec<(u64, usize)>>,
}

#[async_trait]
impl EventLog for Troubled {
    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, _: Record) -> Result<Position, AppendError> {
        unreachable!("only read")
    }

    async fn end(&self, _: PartitionId) -> Result<Offset, LogError> {
        Ok(Offset(END))
    }

    async fn read(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Result<Batch, LogError> {
        let mut reads = self.reads.lock().unwrap();
        let (first, count) = self.away;
        let number = reads.len();
        reads.push((from.0, bounds.records));
        let next = (from.0 + bounds.records as u64).min(END);
        if self.bad.is_some_and(|bad| (from.0..next).contains(&bad)) || (first..first + count).contains(&number) {
            return Err(LogError::Unavailable(format!("try {number}")));
        }
        let record = |offset| StoredRecord { offset: Offset(offset), payload: Bytes::new() };
        Ok(Batch { partition, from, records: (from.0..next).map(record).collect(), next: Offset(next) })
    }

    async fn run(&self, _: &str, _: Arc<dyn Sink>, _: CancellationToken) -> Result<(), LogError> {
        unreachable!("only read")
    }
}

/// How reading ended, at which record, and the largest reads of all.
async fn check(bad: Option<u64>, away: (usize, usize), expected: &str, largest: &[(u64, usize)]) {
    let log = Arc::new(Troubled { bad, away, reads: Mutex::default() });
    let mut reader = Reader {
        log: Arc::clone(&log) as Arc<dyn EventLog>,
        partition: PartitionId(0),
        bounds: COMPARED,
        from: Offset(0),
        one_by_one: Offset(0),
        tries: 0,
        rest: Duration::ZERO,
    };
    let mut ended = "whole".to_owned();
    let mut next = 0;
    while reader.from < Offset(END) {
        match reader.read(Offset(END)).await {
            None => {}
            Some(Read::Batch(decoding)) => {
                let Decoded { batch, .. } = decoding.await.unwrap();
                assert_eq!(batch.from.0, next, "no record is left out or read twice");
                next = batch.next.0;
            }
            Some(Read::Lost(lost)) => {
                ended = format!("lost {}", lost.at);
                break;
            }
            Some(Read::Away(_)) => {
                ended = format!("away at {}", reader.from);
                break;
            }
        }
    }
    assert_eq!(ended, expected, "{bad:?} {away:?}");
    let reads: Vec<_> = log.reads.lock().unwrap().iter().copied().filter(|(_, records)| *records > 1).collect();
    assert_eq!(reads, largest, "{bad:?} {away:?}");
}

#[tokio::test]
async fn trouble_passes_and_a_lost_record_does_not() {
    let whole = [(0, 10_000), (10_000, 10_000), (20_000, 10_000)];
    check(None, (0, 0), "whole", &whole).await;
    // One batch fails once: its records are read one by one, and those behind it together again.
    check(None, (1, 1), "whole", &whole).await;
    check(None, (1, 4), "whole", &whole).await;
    // One record stays unreadable.
    check(Some(12_345), (0, 0), "lost 12345", &whole[..2]).await;
    check(Some(0), (0, 0), "lost 0", &whole[..1]).await;
    check(Some(END - 1), (0, 0), "lost 29999", &whole).await;
    // The log gives nothing any more, which is no difference.
    check(None, (1, usize::MAX / 2), "away at 10000", &whole[..2]).await;
    check(None, (0, usize::MAX / 2), "away at 0", &whole[..1]).await;
}
