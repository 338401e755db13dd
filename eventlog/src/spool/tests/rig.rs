//! A log that a test holds in its hands, faults that it switches on, and what the tests do again and again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use schemas::{AccountId, Offset, PartitionId, Position};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::spool::disk::Step;
use crate::spool::*;
use crate::{AppendError, Batch, Bounds, EventLog, LogError, Sink};

/// A log in memory. It takes as many records as it has permits for.
pub(super) struct FakeLog {
    pub(super) records: Mutex<Vec<Record>>,
    pub(super) permits: Semaphore,
    /// Appends that fail before one succeeds.
    pub(super) failures: AtomicUsize,
}

impl FakeLog {
    pub(super) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self { records: Mutex::default(), permits: Semaphore::new(permits), failures: AtomicUsize::new(0) })
    }

    pub(super) fn open() -> Arc<Self> {
        Self::new(Semaphore::MAX_PERMITS)
    }

    pub(super) fn records(&self) -> Vec<Record> {
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
pub(super) struct Told(pub(super) Mutex<Vec<(Record, u64)>>);

impl Drained for Told {
    fn drained(&self, record: &Record, position: Position) {
        self.0.lock().unwrap().push((record.clone(), position.offset.0));
    }
}

/// Steps that fail while they are switched on, and how often each was taken.
#[derive(Clone, Default)]
pub(super) struct Switch(Arc<[(AtomicBool, AtomicUsize); 3]>);

impl Switch {
    pub(super) fn set(&self, step: Step, on: bool) {
        self.0[step as usize].0.store(on, Ordering::SeqCst);
    }

    pub(super) fn count(&self, step: Step) -> usize {
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

pub(super) fn config() -> Config {
    // A busy disk may take seconds for a write: nothing is given up but where a test is about that.
    let (try_again, give_up) = (Duration::from_millis(20), Duration::from_mins(2));
    Config { max_bytes: MIN_BYTES, try_again, give_up }
}

pub(super) fn open_with(path: &Path, switch: &Switch) -> (Spool, Vec<Record>) {
    open_as(config(), path, switch)
}

pub(super) fn open_as(config: Config, path: &Path, switch: &Switch) -> (Spool, Vec<Record>) {
    // A file that is being made ahead of need keeps the folder a moment longer.
    for _ in 0..1_000 {
        let mut waiting = Vec::new();
        let told = |record: &Record| waiting.push(record.clone());
        match Spool::with_faults(path, config, told, Box::new(switch.clone())) {
            Err(OpenError::InUse(_)) => std::thread::sleep(Duration::from_millis(5)),
            opened => return (opened.unwrap(), waiting),
        }
    }
    panic!("the folder is still in use");
}

pub(super) fn open(path: &Path) -> (Spool, Vec<Record>) {
    open_with(path, &Switch::default())
}

pub(super) fn record(n: usize) -> Record {
    sized(n, 200)
}

pub(super) fn sized(n: usize, bytes: usize) -> Record {
    let payload = format!("{n:0>bytes$}").into_bytes();
    Record { key: AccountId(Uuid::from_u128(n as u128 % 5 + 1)), payload: payload.into() }
}

pub(super) async fn append(spool: &Spool, record: Record) -> Result<(), NotDurable> {
    let reservation = spool.reserve(record.payload.len()).await.expect("room");
    spool.append(reservation, record).await
}

/// Drains until nothing waits.
pub(super) async fn drain(spool: &Spool, log: &Arc<FakeLog>) -> Vec<(Record, u64)> {
    let told = Arc::new(Told::default());
    let stop = CancellationToken::new();
    stop.cancel();
    spool.drain(log.clone(), told.clone(), stop).await;
    let told = told.0.lock().unwrap();
    told.clone()
}
