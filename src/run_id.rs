//! Which run of a gateway this is. A later run has a greater id, whatever the clock says: the ledger ends the leases of the
//! runs before one, and keeps those of the runs after it.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use schemas::RunId;
use uuid::Uuid;

/// The last run's id: beside what says which gateway it is, because they are kept and lost together.
const FILE: &str = "last-run";

/// A new run of the gateway whose files are in this folder, noted there before anything is done in its name.
///
/// # Errors
/// The file can't be read or written, or holds something else.
pub(crate) fn next(folder: &Path) -> Result<RunId> {
    let path = folder.join(FILE);
    let next = || -> Result<RunId> {
        let last = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().context(
                "is not a run's id, a UUID: put back what was there, or, where that is lost, an id that is greater than \
                 any run's before",
            )?,
            Err(error) if error.kind() == ErrorKind::NotFound => RunId(Uuid::nil()),
            Err(error) => return Err(error.into()),
        };
        let id = after(last, RunId(Uuid::now_v7()));
        write(&path, &id.to_string())?;
        Ok(id)
    };
    next().with_context(|| path.display().to_string())
}

/// `now`, or, where the clock was set back since the last run, the id after that one's.
fn after(last: RunId, now: RunId) -> RunId {
    if now > last { now } else { RunId(Uuid::from_u128(last.0.as_u128().saturating_add(1))) }
}

/// Writes a small file whole or not at all, durably: its name, too, is there after a power cut.
///
/// # Errors
/// The disk's.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_run_is_greater_whatever_the_clock_says() {
        let id = |n: u128| RunId(Uuid::from_u128(n));
        let check = |last, now, expected| assert_eq!(after(id(last), id(now)), id(expected), "{last} {now}");
        check(0, 7, 7);
        check(6, 7, 7);
        check(7, 7, 8);
        check(700, 7, 701);
        check(u128::MAX, 7, u128::MAX);
    }

    #[test]
    fn each_run_knows_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = next(folder.path()).unwrap();
        let ahead = RunId(Uuid::from_u128(first.0.as_u128() + (1_000_000_000 << 80)));
        assert!(next(folder.path()).unwrap() > first);
        // As a run with a clock that went ahead by years had left it.
        write(&folder.path().join(FILE), &ahead.to_string()).unwrap();
        assert_eq!(next(folder.path()).unwrap().0.as_u128(), ahead.0.as_u128() + 1);
        assert_eq!(next(folder.path()).unwrap().0.as_u128(), ahead.0.as_u128() + 2);
        std::fs::write(folder.path().join(FILE), "not one").unwrap();
        let told = format!("{:#}", next(folder.path()).unwrap_err());
        assert!(told.contains(FILE) && told.contains("not a run's id"), "{told}");
    }
}
