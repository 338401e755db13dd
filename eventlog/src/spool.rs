//! The spool: records that are durable on this machine's disk, on their way into the log.
//!
//! A gateway answers for a request's usage event before it calls an upstream: it sets room aside ([`Spool::reserve`]),
//! writes the event when the request ends ([`Spool::append`], which returns when it is durable), and one task drains it
//! into the log in order ([`Spool::drain`]), however long the log is away. What is not drained when the process ends,
//! however it ends, is drained by the next one; a repeat is the same event. Where there is no room, nothing is admitted.
//!
//! On disk it is a folder of segments (see `segment` and `frame` for the format), filled one after the other by one thread
//! with one `fdatasync` for all that wait, and removed when they are drained.

mod disk;
mod drain;
mod frame;
mod place;
mod recover;
mod room;
mod segment;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use self::disk::{Disk, Faults, NoFaults};
use self::place::Place;
use self::recover::RecoverError;
use self::room::{Refused, Room, Segment, Spare};
use self::waiting::Waiting;
use self::writer::{Append, Writer};
use crate::Record;

pub use self::drain::Drained;

/// The least a spool may be limited to.
pub const MIN_BYTES: u64 = 1 << 20;

/// How a spool behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The most bytes it takes on disk, at least [`MIN_BYTES`].
    pub max_bytes: u64,
    /// How long it rests after a failure before it tries again.
    pub try_again: Duration,
    /// For how long a write is tried before the record is given up.
    pub give_up: Duration,
}

impl Config {
    /// A spool of this size.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, try_again: Duration::from_secs(1), give_up: Duration::from_secs(30) }
    }

    /// The size of one file: a sixteenth, so that drained room comes back soon, within sensible bounds.
    fn segment_bytes(&self) -> u64 {
        (self.max_bytes / 16).clamp(256 << 10, 8 << 20)
    }
}

/// Why a spool can't be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another process; give each gateway a folder of its own", .0.display())]
    InUse(PathBuf),
    /// It can't be read or written.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Records that were durable can't be read any more.
    #[error(
        "{}: {what}. Usage that was answered for is in there: put the files back from a copy. To go on without it, move \
         the whole folder away and keep it", .path.display()
    )]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// The file, and the place in it.
        what: String,
    },
}

/// Why there is no room: nothing may be admitted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoRoom {
    /// The limit is reached: the log has been away for too long.
    #[error("the spool has {max_bytes} bytes that are not in the event log yet, which is its limit")]
    Full {
        /// The limit.
        max_bytes: u64,
    },
    /// The disk is full, or broken.
    #[error("the spool can't be written: {0}")]
    Disk(String),
    /// The record could never fit.
    #[error("a record of {bytes} bytes is larger than the spool takes ({max_bytes} bytes)")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// The spool's limit.
        max_bytes: usize,
    },
}

/// The record is not durable, and will never be: it was given up.
#[derive(Debug, Error)]
#[error("the spool could not make the record durable: {0}")]
pub struct NotDurable(pub String);

/// How full a spool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes set aside for requests that run.
    pub reserved_bytes: u64,
    /// The most bytes that it takes.
    pub max_bytes: u64,
    /// Records that the log has not confirmed.
    pub records: u64,
    /// For how long the oldest of them has waited, to the second; of what an earlier process left, since this one began.
    pub oldest: Option<Duration>,
}

/// The spool of one process.
pub struct Spool {
    shared: Arc<Shared>,
    queue: Option<mpsc::UnboundedSender<Append>>,
    writer: Option<JoinHandle<()>>,
    /// How far it is drained; locked by the one who drains.
    drained: tokio::sync::Mutex<Place>,
}

/// What writer, drainer and callers share.
struct Shared {
    disk: Disk,
    room: Mutex<Room>,
    /// Callers that need a segment wait for their turn here, and not on threads.
    growing: tokio::sync::Mutex<()>,
    /// One new file at a time: a segment's number tells when it came into use.
    making: Mutex<()>,
    /// Told when more is durable.
    durable: watch::Sender<()>,
    /// Told when nobody will append any more.
    closing: watch::Sender<bool>,
}

/// Room for one record, set aside until it is written or this is dropped.
pub struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.room().release(self.bytes);
    }
}

impl Spool {
    /// Opens the spool in this folder, or makes one, and gives every record that waits in it to `waiting`, in order.
    /// Blocks while it reads.
    pub fn open(path: &Path, config: Config, waiting: impl FnMut(&Record)) -> Result<Self, OpenError> {
        Self::with_faults(path, config, waiting, Box::new(NoFaults))
    }

    fn with_faults(
        path: &Path,
        config: Config,
        mut waiting: impl FnMut(&Record),
        faults: Box<dyn Faults>,
    ) -> Result<Self, OpenError> {
        let mut left = 0;
        let waiting = |record: &Record| {
            left += 1;
            waiting(record);
        };
        let failed = |error| OpenError::Io { path: path.to_owned(), error };
        let disk = Disk::take(path, faults).map_err(failed)?.ok_or_else(|| OpenError::InUse(path.to_owned()))?;
        let recovered = recover::recover(&disk, waiting).map_err(|error| match error {
            RecoverError::Io(error) => failed(error),
            error => OpenError::Damaged { path: path.to_owned(), what: error.to_string() },
        })?;
        let open = |left: &recover::Left| {
            let file = Arc::new(disk.open(left.number)?);
            Ok(Segment { number: left.number, file, size: u64::from(left.end), end: left.end })
        };
        let room = Room {
            config: Config { max_bytes: config.max_bytes.max(MIN_BYTES), ..config },
            segments: recovered.segments.iter().map(open).collect::<io::Result<_>>().map_err(failed)?,
            writable: false,
            spares: std::collections::VecDeque::new(),
            newest: recovered.newest,
            next_number: recovered.next_number,
            reserved: 0,
            running: 0,
            broken: None,
            stuck: None,
            waiting: Waiting::of(left, recovered.newest, Instant::now()),
        };
        let shared = Arc::new(Shared {
            disk,
            room: Mutex::new(room),
            growing: tokio::sync::Mutex::new(()),
            making: Mutex::new(()),
            durable: watch::Sender::new(()),
            closing: watch::Sender::new(false),
        });
        let (queue, appends) = mpsc::unbounded_channel();
        let writer = Writer::new(Arc::clone(&shared));
        let writer = std::thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(appends));
        let writer = Some(writer.map_err(failed)?);
        Ok(Self { shared, queue: Some(queue), writer, drained: tokio::sync::Mutex::new(recovered.drained) })
    }

    /// Sets room aside for one record with a payload of at most this size.
    pub async fn reserve(&self, payload_bytes: usize) -> Result<Reservation, NoRoom> {
        if payload_bytes > frame::MAX_PAYLOAD_BYTES {
            return Err(NoRoom::TooLarge { bytes: payload_bytes, max_bytes: frame::MAX_PAYLOAD_BYTES });
        }
        let bytes = frame::frame_bytes(payload_bytes);
        loop {
            let reserved = self.shared.room().reserve(bytes, Instant::now());
            match reserved {
                Ok(()) => break,
                Err(Refused::No(why)) => return Err(why),
                Err(Refused::Grow) => self.grow(bytes).await,
            }
        }
        let reservation = Reservation { shared: Arc::clone(&self.shared), bytes };
        let is_low = self.shared.room().is_low();
        if is_low && self.shared.growing.try_lock().is_ok() {
            // Ahead of need; where it fails, whoever needs it will see.
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { shared.grow(|room| room.is_low()).await });
        }
        Ok(reservation)
    }

    async fn grow(&self, bytes: u64) {
        let needed = move |room: &mut Room| match room.reserve(bytes, Instant::now()) {
            Ok(()) => {
                room.release(bytes);
                false
            }
            Err(refused) => refused == Refused::Grow,
        };
        self.shared.grow(needed).await;
    }

    /// Writes a record; durable on return. The record is no larger than what was set aside, or takes its chance.
    pub async fn append(&self, reservation: Reservation, record: Record) -> Result<(), NotDurable> {
        if record.payload.len() > frame::MAX_PAYLOAD_BYTES {
            let why = NoRoom::TooLarge { bytes: record.payload.len(), max_bytes: frame::MAX_PAYLOAD_BYTES };
            return Err(NotDurable(why.to_string()));
        }
        let stopped = || NotDurable("its writer has stopped".to_owned());
        let (done, answer) = oneshot::channel();
        let append = Append { record, reservation, done };
        self.queue.as_ref().ok_or_else(stopped)?.send(append).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// How full it is.
    pub fn status(&self) -> Status {
        let room = self.shared.room();
        Status {
            bytes: room.bytes(),
            reserved_bytes: room.reserved,
            max_bytes: room.config.max_bytes,
            records: room.waiting.records(),
            oldest: room.waiting.oldest().map(|since| since.elapsed()),
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.queue = None;
        self.shared.closing.send_replace(true);
        if let Some(writer) = self.writer.take() {
            // It has told already what it panicked of.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn room(&self) -> MutexGuard<'_, Room> {
        // Every change under the lock leaves it whole.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes another segment where that is `needed`, once it is this caller's turn.
    async fn grow(self: &Arc<Self>, needed: impl Fn(&mut Room) -> bool + Send + 'static) {
        let _turn = self.growing.lock().await;
        if needed(&mut self.room()) {
            let shared = Arc::clone(self);
            let grown = spawn_blocking(move || shared.make_spare(needed)).await;
            if let Ok(Err(error)) = grown {
                tracing::error!(%error, "the spool can't grow");
            }
        }
    }

    /// Makes a spare, where one is still `needed`. Its success ends whatever trouble there was, its failure is trouble.
    fn make_spare(&self, needed: impl Fn(&mut Room) -> bool) -> io::Result<()> {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, bytes) = {
            let mut room = self.room();
            if !needed(&mut room) {
                return Ok(());
            }
            room.next_number += 1;
            (room.next_number - 1, room.config.segment_bytes())
        };
        let made = self.disk.create(number, bytes);
        let (spare, result) = match made {
            Ok(file) => (Ok(Spare { number, file: Arc::new(file) }), Ok(())),
            Err(error) => (Err(NoRoom::Disk(error.to_string())), Err(error)),
        };
        self.room().grown(spare, Instant::now());
        result
    }
}
