//! The spool against a log that a test holds in its hands: nothing acknowledged is lost, changed, reordered or written
//! without having been promised room.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use schemas::{AccountId, Offset, PartitionId, Position};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::disk::Step;
use super::*;
use crate::{AppendError, Batch, Bounds, EventLog, LogError, Sink};

/// A log in memory. It takes as many records as it has permits for.
struct FakeLog {
    records: Mutex<Vec<Record>>,
    permits: Semaphore,
    /// Appends that fail before one succeeds.
    failures: AtomicUsize,
}

impl FakeLog {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self { records: Mutex::default(), permits: Semaphore::new(permits), failures: AtomicUsize::new(0) })
    }

    fn open() -> Arc<Self> {
        Self::new(Semaphore::MAX_PERMITS)
    }

    fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }
}

#[async_trait]
impl EventLog for FakeLog {
    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, record: Record) -> Result<Position, AppendError> {
        self.permits.acquire().await.unwrap().forget();
        let fail = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fail).is_ok() {
            return Err(AppendError::Unavailable("on purpose".to_owned()));
        }
        let mut records = self.records.lock().unwrap();
        records.push(record);
        Ok(Position { partition: PartitionId(0), offset: Offset(records.len() as u64 - 1) })
    }

    async fn end(&self, _: PartitionId) -> Result<Offset, LogError> {
        unreachable!("only appended to")
    }

    async fn read(&self, _: PartitionId, _: Offset, _: Bounds) -> Result<Batch, LogError> {
        unreachable!("only appended to")
    }

    async fn run(&self, _: &str, _: Arc<dyn Sink>, _: CancellationToken) -> Result<(), LogError> {
        unreachable!("only appended to")
    }
}

/// Remembers what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<(Record, u64)>>);

impl Drained for Told {
    fn drained(&self, record: &Record, position: Position) {
        self.0.lock().unwrap().push((record.clone(), position.offset.0));
    }
}

/// Steps that fail while they are switched on, and how often each was taken.
#[derive(Clone, Default)]
struct Switch(Arc<[(AtomicBool, AtomicUsize); 3]>);

impl Switch {
    fn set(&self, step: Step, on: bool) {
        self.0[step as usize].0.store(on, Ordering::SeqCst);
    }

    fn count(&self, step: Step) -> usize {
        self.0[step as usize].1.load(Ordering::SeqCst)
    }
}

impl Faults for Switch {
    fn check(&self, step: Step) -> io::Result<()> {
        self.0[step as usize].1.fetch_add(1, Ordering::SeqCst);
        if self.0[step as usize].0.load(Ordering::SeqCst) {
            return Err(io::Error::other("no space left, on purpose"));
        }
        Ok(())
    }
}

fn config() -> Config {
    let (try_again, give_up) = (Duration::from_millis(20), Duration::from_millis(300));
    Config { max_bytes: MIN_BYTES, try_again, give_up }
}

fn open_with(path: &Path, switch: &Switch) -> (Spool, Vec<Record>) {
    // A file that is being made ahead of need keeps the folder a moment longer.
    for _ in 0..1_000 {
        let mut waiting = Vec::new();
        let told = |record: &Record| waiting.push(record.clone());
        match Spool::with_faults(path, config(), told, Box::new(switch.clone())) {
            Err(OpenError::InUse(_)) => std::thread::sleep(Duration::from_millis(5)),
            opened => return (opened.unwrap(), waiting),
        }
    }
    panic!("the folder is still in use");
}

fn open(path: &Path) -> (Spool, Vec<Record>) {
    open_with(path, &Switch::default())
}

fn record(n: usize) -> Record {
    sized(n, 200)
}

fn sized(n: usize, bytes: usize) -> Record {
    let payload = format!("{n:0>bytes$}").into_bytes();
    Record { key: AccountId(Uuid::from_u128(n as u128 % 5 + 1)), payload: payload.into() }
}

async fn append(spool: &Spool, record: Record) -> Result<(), NotDurable> {
    let reservation = spool.reserve(record.payload.len()).await.expect("room");
    spool.append(reservation, record).await
}

/// Drains until nothing waits.
async fn drain(spool: &Spool, log: &Arc<FakeLog>) -> Vec<(Record, u64)> {
    let told = Arc::new(Told::default());
    let stop = CancellationToken::new();
    stop.cancel();
    spool.drain(log.clone(), told.clone(), stop).await;
    let told = told.0.lock().unwrap();
    told.clone()
}

#[tokio::test]
async fn what_is_appended_is_drained_in_order_and_told() {
    let folder = TempDir::new().unwrap();
    let (spool, waiting) = open(folder.path());
    assert_eq!(waiting, []);
    let records: Vec<_> = (0..3_000).map(record).collect();
    for record in &records {
        append(&spool, record.clone()).await.unwrap();
    }
    let log = FakeLog::open();
    let told = drain(&spool, &log).await;
    assert_eq!(log.records(), records);
    assert_eq!(told, records.iter().cloned().zip(0..).collect::<Vec<_>>());
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
    let (spool, _) = open_with(folder.path(), &switch);
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

/// What a random history does next.
#[derive(Clone, Debug)]
enum Do {
    Append(usize, usize),
    /// Lets the log take some.
    Drain(usize),
    Restart,
    /// Appends while syncs fail for a moment.
    Trouble(usize),
}

fn history() -> impl Strategy<Value = Vec<Do>> {
    let step = prop_oneof![
        4 => (1_usize..40, 1_usize..6_000).prop_map(|(count, bytes)| Do::Append(count, bytes)),
        2 => (0_usize..60).prop_map(Do::Drain),
        2 => Just(Do::Restart),
        1 => (1_usize..4).prop_map(Do::Trouble),
    ];
    prop::collection::vec(step, 1..25)
}

/// The spool against a list: what was acknowledged gets into the log, in order, and repeats are the only excess.
async fn check(history: Vec<Do>) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let switch = Switch::default();
    let (mut spool, _) = open_with(folder.path(), &switch);
    let log = FakeLog::new(0);
    let (mut model, mut refused) = (Vec::new(), 0);
    for step in history {
        match step {
            Do::Append(count, bytes) => {
                for _ in 0..count {
                    let record = sized(model.len(), bytes);
                    match spool.reserve(bytes).await {
                        Ok(reservation) => {
                            spool.append(reservation, record.clone()).await.unwrap();
                            model.push(record);
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
            Do::Drain(count) => {
                log.permits.add_permits(count);
                let told = Arc::new(Told::default());
                let draining = spool.drain(log.clone(), told, CancellationToken::new());
                let _ = tokio::time::timeout(Duration::from_millis(10), draining).await;
                log.permits.forget_permits(Semaphore::MAX_PERMITS);
            }
            Do::Restart => {
                drop(spool);
                let (again, waiting) = open_with(folder.path(), &switch);
                prop_assert!(model.ends_with(&waiting), "{} of {} wait", waiting.len(), model.len());
                spool = again;
            }
            Do::Trouble(count) => {
                let mut writing = Vec::new();
                for _ in 0..count {
                    writing.extend(spool.reserve(200).await.ok());
                }
                switch.set(Step::Sync, true);
                let heal = async {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    switch.set(Step::Sync, false);
                };
                let write = async {
                    for reservation in writing {
                        let record = record(model.len());
                        spool.append(reservation, record.clone()).await.unwrap();
                        model.push(record);
                    }
                };
                tokio::join!(heal, write);
                switch.set(Step::Sync, false);
            }
        }
    }
    drop(spool);
    let (spool, _) = open(folder.path());
    log.permits.add_permits(1_000_000);
    drain(&spool, &log).await;
    // A repeat is the same event: the first of each counts.
    let mut seen = std::collections::BTreeSet::new();
    let once: Vec<_> = log.records().into_iter().filter(|record| seen.insert(record.payload.clone())).collect();
    prop_assert_eq!(once.len(), model.len(), "{} refused", refused);
    prop_assert!(once == model);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_lose_nothing(history in history()) {
        tokio::runtime::Runtime::new().unwrap().block_on(check(history))?;
    }

    #[test]
    fn whatever_is_promised_fits(sizes in prop::collection::vec(1_usize..=frame::MAX_PAYLOAD_BYTES, 1..8)) {
        let folder = TempDir::new().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (spool, appended) = runtime.block_on(fill(folder.path(), &sizes));
        drop(spool);
        prop_assert!(open(folder.path()).1 == appended);
    }
}
