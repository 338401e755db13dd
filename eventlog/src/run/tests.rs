//! The loop against a scripted sink and a source of endless records, on a paused clock.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::StoredRecord;

/// What the sink does with the next batch.
#[derive(Clone, Copy, Debug)]
enum Does {
    Take,
    /// Somebody else moves the position on by so many records, so this batch is refused.
    LoseTo(u64),
    /// Says moved, though it has not.
    SayMoved,
    Fail,
    /// The batch gets in, but the answer is lost.
    TakeAndFail,
    /// The position can't be told, next time.
    FailPosition,
}

#[derive(Default)]
struct Store {
    position: u64,
    /// The offsets this sink took.
    taken: Vec<u64>,
    script: VecDeque<Does>,
    /// How many batches came ahead of their turn.
    prepared: usize,
    /// How often the partition was given up.
    left: usize,
}

struct ScriptedSink {
    store: Mutex<Store>,
    pace_ms: u64,
    /// Ends the loop when the script is over.
    stop: CancellationToken,
}

#[async_trait]
impl Sink for ScriptedSink {
    async fn position(&self, _: PartitionId) -> Result<Offset, SinkError> {
        let mut store = self.store.lock().unwrap();
        if let Some(Does::FailPosition) = store.script.front() {
            store.script.pop_front();
            return Err(SinkError::Unavailable("no position".to_owned()));
        }
        Ok(Offset(store.position))
    }

    async fn apply(&self, batch: Batch) -> Result<(), SinkError> {
        // An apply takes its time: a stop that comes meanwhile must not tear it.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut store = self.store.lock().unwrap();
        let does = store.script.pop_front().unwrap();
        if store.script.is_empty() {
            self.stop.cancel();
        }
        assert_eq!(batch.from.0, store.position, "offered at the position of record");
        match does {
            Does::Take | Does::TakeAndFail => {
                store.taken.extend(batch.records.iter().map(|record| record.offset.0));
                store.position = batch.next.0;
            }
            Does::LoseTo(records) => store.position += records,
            Does::SayMoved | Does::Fail | Does::FailPosition => {}
        }
        match does {
            Does::Take => Ok(()),
            Does::LoseTo(_) | Does::SayMoved => Err(SinkError::Moved),
            Does::Fail | Does::TakeAndFail | Does::FailPosition => Err(SinkError::Unavailable("no store".to_owned())),
        }
    }

    async fn prepare(&self, _: &Batch) {
        self.store.lock().unwrap().prepared += 1;
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(self.pace_ms)
    }

    fn leave(&self, _: PartitionId) {
        self.store.lock().unwrap().left += 1;
    }
}

/// Two records a batch, whatever the offset and the bounds.
struct Endless;

#[async_trait]
impl Source for Endless {
    async fn batch(&mut self, from: Offset, _: Bounds) -> Result<Batch, ReadError> {
        let record = |offset| StoredRecord { offset, payload: Bytes::new() };
        let records = vec![record(from), record(from.next())];
        Ok(Batch { partition: PartitionId(0), from, records, next: from.next().next() })
    }

    fn applied(&mut self, _: Offset) {}
}

/// The same whether batches come one at a time, or are full, so that each is read while the one before it is applied.
async fn check(script: &[Does], taken: &[u64], waited_ms: u64) {
    let applies = script.iter().filter(|does| !matches!(does, Does::FailPosition)).count();
    for (bounds, prepared) in [(Bounds::default(), 0), (Bounds { records: 2, bytes: 1 }, applies)] {
        let stop = CancellationToken::new();
        let store = Mutex::new(Store { script: script.iter().copied().collect(), ..Store::default() });
        let sink = Arc::new(ScriptedSink { store, pace_ms: 0, stop: stop.clone() });
        let begun = Instant::now();
        partition(PartitionId(0), Endless, Arc::<ScriptedSink>::clone(&sink), bounds, stop).await.unwrap();
        let store = sink.store.lock().unwrap();
        assert_eq!(store.taken, taken, "{script:?}");
        assert_eq!((store.prepared, store.left), (prepared, 1), "{script:?}");
        let waited = begun.elapsed().saturating_sub(Duration::from_millis(applies as u64));
        assert_eq!(waited, Duration::from_millis(waited_ms), "{script:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_skipped_and_nothing_is_offered_twice() {
    use Does::{Fail, FailPosition, LoseTo, SayMoved, Take, TakeAndFail};
    check(&[Take, Take, Take], &[0, 1, 2, 3, 4, 5], 0).await;
    check(&[Take, LoseTo(2), Take], &[0, 1, 4, 5], 0).await;
    check(&[LoseTo(1), LoseTo(4), Take], &[5, 6], 0).await;
    check(&[Take, Fail, Take], &[0, 1, 2, 3], 50).await;
    check(&[Fail, Fail, Fail, Take, Fail, Take], &[0, 1, 2, 3], 50 + 100 + 200 + 50).await;
    check(&[TakeAndFail, Take], &[0, 1, 2, 3], 50).await;
    check(&[FailPosition, FailPosition, Take], &[0, 1], 50 + 100).await;
    // A sink that contradicts itself is no reason to spin.
    check(&[SayMoved, SayMoved, SayMoved, Take], &[0, 1], 50 + 100 + 200).await;
    // The wait is bounded: 50, 100, ... 3200, then 5000 each.
    let mut script = vec![Fail; 10];
    script.push(Take);
    check(&script, &[0, 1], 50 + 100 + 200 + 400 + 800 + 1_600 + 3_200 + 5_000 * 3).await;
}

/// A rest ends with a stop, and there is none where the reader is behind.
#[tokio::test(start_paused = true)]
async fn batches_keep_their_pace_while_the_reader_is_not_behind() {
    let check = async |script: &[Does], bounds: Bounds, took_ms: u64| {
        let stop = CancellationToken::new();
        let store = Mutex::new(Store { script: script.iter().copied().collect(), ..Store::default() });
        let sink = Arc::new(ScriptedSink { store, pace_ms: 20, stop: stop.clone() });
        let begun = Instant::now();
        partition(PartitionId(0), Endless, sink, bounds, stop).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_millis(took_ms), "{script:?} {bounds:?}");
    };
    // An apply takes 1 ms, and the last one ends with the stop.
    check(&[Does::Take], Bounds::default(), 1).await;
    check(&[Does::Take; 3], Bounds::default(), 20 + 20 + 1).await;
    check(&[Does::Take; 3], Bounds { records: 2, bytes: 1 }, 1 + 1 + 1).await;
    // A batch that was refused is nothing to rest after.
    check(&[Does::LoseTo(2), Does::Take], Bounds::default(), 1 + 1).await;
}

/// A source that has nothing, or nothing any more.
struct Broken(fn() -> ReadError);

#[async_trait]
impl Source for Broken {
    async fn batch(&mut self, _: Offset, _: Bounds) -> Result<Batch, ReadError> {
        Err((self.0)())
    }

    fn applied(&mut self, _: Offset) {}
}

#[tokio::test(start_paused = true)]
async fn lost_records_end_the_loop_and_passing_trouble_does_not() {
    let run = |read: fn() -> ReadError| {
        let stop = CancellationToken::new();
        let sink = Arc::new(ScriptedSink { store: Mutex::default(), pace_ms: 0, stop: stop.clone() });
        let run = partition(PartitionId(7), Broken(read), sink, Bounds::default(), stop);
        tokio::time::timeout(Duration::from_mins(1), run)
    };
    let lost = run(|| ReadError::gap(PartitionId(7), Offset(3), Offset(5))).await.unwrap().unwrap_err();
    assert_eq!(
        lost.to_string(),
        "the event log can't be gone on with: partition 7 has lost records: offset 5 comes where 3 should"
    );
    assert!(run(|| ReadError::Passing("busy".to_owned())).await.is_err(), "still trying");
}
