//! The folder: its lock, its segments and the file that says how far they are drained.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::place::Place;

const LOCK: &str = "lock";
const DRAINED: &str = "drained";
const SUFFIX: &str = ".segment";
/// Zeros are written in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// Writes that can be made to fail.
pub(super) trait Faults: Send + Sync + 'static {
    /// An error here is one of the write, or of making it durable.
    fn check(&self, _: Step) -> io::Result<()> {
        Ok(())
    }
}

/// What may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Write,
    Sync,
}

/// Nothing fails but what really does.
pub(super) struct NoFaults;

impl Faults for NoFaults {}

/// The folder, locked.
pub(super) struct Disk {
    path: PathBuf,
    faults: Box<dyn Faults>,
    /// Locked for as long as it is open.
    _lock: File,
    drained: File,
}

impl Disk {
    /// Takes the folder, and makes it, for its owner alone, where there is none. `None` where a running process has it.
    pub(super) fn take(path: &Path, faults: Box<dyn Faults>) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let open = |name| {
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path.join(name))
        };
        let lock = open(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let drained = open(DRAINED)?;
        let disk = Self { path: path.to_owned(), faults, _lock: lock, drained };
        disk.sync_folder()?;
        // A folder whose name a power cut loses takes its files with it. One above that can't be opened was there before.
        for above in std::path::absolute(path)?.ancestors().skip(1) {
            if let Ok(folder) = File::open(above) {
                folder.sync_all()?;
            }
        }
        Ok(Some(disk))
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:016x}{SUFFIX}"))
    }

    /// The numbers of the segments' files, in order.
    pub(super) fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) fn read(&self, number: u64) -> io::Result<Bytes> {
        std::fs::read(self.path(number)).map(Bytes::from)
    }

    pub(super) fn open(&self, number: u64) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path(number))
    }

    /// Makes a segment's file of zeros, durably: its room on the disk is taken, and what is written into it later changes
    /// no metadata.
    pub(super) fn create(&self, number: u64, bytes: u64) -> io::Result<File> {
        let path = self.path(number);
        let made = self.zeros(&path, bytes);
        if made.is_err() {
            // A part of a file would only take room.
            let _ = std::fs::remove_file(&path);
        }
        made
    }

    fn zeros(&self, path: &Path, bytes: u64) -> io::Result<File> {
        self.faults.check(Step::Create)?;
        let file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(path)?;
        let zeros = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < bytes {
            let piece = zeros.get(..usize::try_from(bytes - at).unwrap_or(PIECE_BYTES)).unwrap_or(&zeros);
            file.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        file.sync_all()?;
        self.sync_folder()?;
        Ok(file)
    }

    /// Writes into a segment; durable on return. After an error nothing is known of these bytes, and they must not be
    /// written into this file again: the kernel may have dropped them and forgotten that it did.
    pub(super) fn write(&self, file: &File, bytes: &[u8], at: u32) -> io::Result<()> {
        self.faults.check(Step::Write)?;
        file.write_all_at(bytes, u64::from(at))?;
        self.faults.check(Step::Sync)?;
        file.sync_data()
    }

    /// Shortens a segment to what counts of it.
    pub(super) fn truncate(&self, number: u64, bytes: u32) -> io::Result<()> {
        let file = self.open(number)?;
        file.set_len(u64::from(bytes))?;
        file.sync_all()
    }

    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        std::fs::remove_file(self.path(number))
    }

    /// How far the segments are drained; `None` where that can't be read.
    pub(super) fn drained(&self) -> io::Result<Option<Place>> {
        let mut bytes = Vec::new();
        (&self.drained).read_to_end(&mut bytes)?;
        Ok(if bytes.is_empty() { Some(Place::default()) } else { Place::decode(&bytes) })
    }

    /// Notes how far the segments are drained. A note that a crash of the machine loses costs repeats, nothing else, so
    /// only what a removal rests on is made durable.
    pub(super) fn note_drained(&self, place: Place, durably: bool) -> io::Result<()> {
        self.drained.write_all_at(&place.encode(), 0)?;
        if durably { self.drained.sync_data() } else { Ok(()) }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
