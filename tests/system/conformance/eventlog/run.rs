//! Running a sink.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use eventlog::{EventLog, LogError, Sink};
use schemas::{Offset, PartitionId};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::sink::{CasSink, Does, Store};
use super::stage::{PATIENCE, Stage, account_in, append, append_some, eventually};

/// A member of the group, running.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), LogError>>,
}

impl Running {
    fn start(log: &Arc<dyn EventLog>, sink: &Arc<CasSink>) -> Self {
        let stop = CancellationToken::new();
        let (log, sink): (_, Arc<dyn Sink>) = (Arc::clone(log), Arc::<CasSink>::clone(sink));
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { log.run("sinks", sink, stop).await }
        });
        Self { stop, task }
    }

    /// Stops it, and tells how long that took.
    async fn stop(self) -> Duration {
        let begun = Instant::now();
        self.stop.cancel();
        self.ended().await.unwrap();
        begun.elapsed()
    }

    async fn ended(self) -> Result<(), LogError> {
        timeout(PATIENCE, self.task).await.expect("ended").unwrap()
    }
}

async fn level(store: &Store, log: &dyn EventLog) {
    eventually("the sink has all that the log has", async || store.is_level(log).await).await;
}

pub(super) async fn delivers_everything_once_in_order_and_waits_for_more(stage: Stage) {
    let log = stage.open().await;
    append_some(&*log, 0, 500).await;
    let store = Arc::new(Store::default());
    let running = Running::start(&log, &CasSink::new(&store));
    level(&store, &*log).await;
    for round in 5..10 {
        append_some(&*log, round * 100, 100).await;
        level(&store, &*log).await;
    }
    running.stop().await;
    store.assert_same(&*log).await;
}

pub(super) async fn goes_on_where_the_sink_is(stage: Stage) {
    let store = Arc::new(Store::default());
    for round in 0..3 {
        let log = stage.open().await;
        append_some(&*log, round * 50, 50).await;
        let sink = CasSink::new(&store);
        let running = Running::start(&log, &sink);
        level(&store, &*log).await;
        running.stop().await;
        store.assert_same(&*log).await;
        append_some(&*log, 1_000 + round * 50, 50).await;
        assert!(!store.is_level(&*log).await, "it was stopped");
    }
}

pub(super) async fn starts_over_with_an_empty_sink(stage: Stage) {
    let log = stage.open().await;
    append_some(&*log, 0, 100).await;
    // The same group, so what it committed says otherwise.
    for _ in 0..2 {
        let store = Arc::new(Store::default());
        let running = Running::start(&log, &CasSink::new(&store));
        level(&store, &*log).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        running.stop().await;
        store.assert_same(&*log).await;
    }
}

pub(super) async fn what_another_process_appends_is_run_too(stage: Stage) {
    let (log, other) = tokio::join!(stage.open(), stage.open());
    let store = Arc::new(Store::default());
    let running = Running::start(&log, &CasSink::new(&store));
    for round in 0..3 {
        append_some(&*other, round * 20, 20).await;
        level(&store, &*log).await;
    }
    running.stop().await;
    store.assert_same(&*log).await;
}

pub(super) async fn a_moved_position_is_read_again(stage: Stage) {
    scripted(stage, &[Does::LosesTheRace, Does::LosesTheRace, Does::LosesTheRace]).await;
}

pub(super) async fn a_sink_that_is_away_skips_nothing(stage: Stage) {
    use Does::{Fails, FailsAfterwards, LosesTheRace};
    scripted(stage, &[Fails, Fails, Fails, FailsAfterwards, Fails, LosesTheRace, FailsAfterwards]).await;
}

/// The script plays out among the partitions, while more records come.
async fn scripted(stage: Stage, script: &[Does]) {
    let log = stage.open().await;
    append_some(&*log, 0, 100).await;
    let store = Arc::new(Store::default());
    let sink = CasSink::new(&store);
    sink.script.lock().unwrap().extend(script);
    let running = Running::start(&log, &sink);
    let mut first = 100;
    eventually("the script has been played", async || {
        append_some(&*log, first, 10).await;
        first += 10;
        sink.script.lock().unwrap().is_empty()
    })
    .await;
    level(&store, &*log).await;
    running.stop().await;
    store.assert_same(&*log).await;
}

pub(super) async fn a_sink_without_a_position_holds_up_one_partition_only(stage: Stage) {
    let log = stage.open().await;
    append_some(&*log, 0, 100).await;
    let store = Arc::new(Store::default());
    let sink = CasSink::new(&store);
    let held_up = PartitionId(1);
    *sink.unknown.lock().unwrap() = Some(held_up);
    let running = Running::start(&log, &sink);
    for other in [PartitionId(0), PartitionId(2)] {
        let end = log.end(other).await.unwrap();
        eventually("the others go on", async || store.position(other) == end).await;
    }
    assert_eq!(store.position(held_up), Offset(0));
    *sink.unknown.lock().unwrap() = None;
    level(&store, &*log).await;
    running.stop().await;
    store.assert_same(&*log).await;
}

pub(super) async fn members_of_a_group_apply_each_record_once(stage: Stage) {
    let logs = [stage.open().await, stage.open().await];
    let store = Arc::new(Store::default());
    let sinks = [0, 1].map(|_| CasSink::taking(&store, Duration::from_millis(2)));
    let mut first = 0;
    let mut go_on = async |what: &str, is_so: &dyn Fn() -> bool| {
        eventually(what, async || {
            append_some(&*logs[0], first, 20).await;
            first += 20;
            is_so()
        })
        .await;
    };
    let one = Running::start(&logs[0], &sinks[0]);
    go_on("the first member takes part", &|| sinks[0].applied() > 0).await;
    let other = Running::start(&logs[1], &sinks[1]);
    go_on("the second member takes part", &|| sinks[1].applied() > 0).await;
    let before = [0, 1].map(|n| sinks[n].applied());
    go_on("both go on", &|| (0..2).all(|n| sinks[n].applied() > before[n])).await;
    one.stop().await;
    level(&store, &*logs[1]).await;
    // The one that is left has all partitions.
    append_some(&*logs[0], 1_000_000, 50).await;
    level(&store, &*logs[1]).await;
    other.stop().await;
    store.assert_same(&*logs[0]).await;
    if stage.shares_partitions() {
        let refused: usize = sinks.iter().map(|sink| sink.begun.load(Ordering::SeqCst) - sink.applied()).sum();
        assert_eq!(refused, 0, "a partition changed hands while a batch of it was being applied");
    }
}

pub(super) async fn a_member_that_is_dropped_leaves_its_partitions_to_the_others(stage: Stage) {
    let logs = [stage.open().await, stage.open().await];
    let store = Arc::new(Store::default());
    append_some(&*logs[0], 0, 50).await;
    let dropped = Running::start(&logs[0], &CasSink::new(&store));
    level(&store, &*logs[0]).await;
    let other = Running::start(&logs[1], &CasSink::new(&store));
    // At any moment of the other one's joining.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    dropped.task.abort();
    assert!(dropped.task.await.unwrap_err().is_cancelled());
    append_some(&*logs[1], 50, 50).await;
    level(&store, &*logs[1]).await;
    other.stop().await;
    store.assert_same(&*logs[1]).await;
}

pub(super) async fn stops_at_once_but_never_within_an_apply(stage: Stage) {
    let log = stage.open().await;
    let store = Arc::new(Store::default());
    let idle = Running::start(&log, &CasSink::new(&store));
    append(&*log, account_in(PartitionId(0)), "first").await;
    level(&store, &*log).await;
    let took = idle.stop().await;
    assert!(took < Duration::from_secs(2), "idle, it stopped within {took:?}");

    let sink = CasSink::taking(&store, Duration::from_millis(500));
    let busy = Running::start(&log, &sink);
    append(&*log, account_in(PartitionId(0)), "second").await;
    eventually("an apply has begun", async || sink.begun.load(Ordering::SeqCst) == 1).await;
    let took = busy.stop().await;
    assert!(took < Duration::from_millis(2_500), "busy, it stopped within {took:?}");
    assert_eq!(sink.applied(), 1, "what was begun is finished");
    store.assert_same(&*log).await;

    // Stopped before it began.
    let running = Running::start(&log, &CasSink::new(&store));
    running.stop.cancel();
    running.ended().await.unwrap();
}

pub(super) async fn a_position_beyond_the_log_ends_the_run(stage: Stage) {
    let elsewhere = match &stage {
        Stage::Embedded(_) => Stage::embedded(),
        Stage::Kafka(_) => Stage::kafka().await,
    };
    let (log, longer) = tokio::join!(stage.open(), elsewhere.open());
    let partition = PartitionId(1);
    for _ in 0..5 {
        append(&*longer, account_in(partition), "elsewhere").await;
    }
    let store = Arc::new(Store::default());
    let sink = CasSink::new(&store);
    let running = Running::start(&longer, &sink);
    level(&store, &*longer).await;
    running.stop().await;

    append(&*log, account_in(partition), "here").await;
    let error = Running::start(&log, &sink).ended().await.unwrap_err().to_string();
    assert!(error.contains("partition 1") && error.contains("before 1,") && error.contains("and 5 was"), "{error}");
}
