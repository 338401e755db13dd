//! What was downloaded once, kept outside of the checkout.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The folder `name` of the cache, filled by `install` if it is not there yet.
///
/// Processes wait for each other, and a folder appears only when it is complete.
///
/// # Errors
///
/// What `install` says, or that the cache cannot be written.
pub(crate) fn folder(name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    folder_in(&root()?, name, install)
}

fn root() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os("MODELHUB_TEST_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    let caches = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    caches
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .map(|caches| caches.join("modelhub-tests"))
        .ok_or_else(|| "no place for downloads: set HOME, XDG_CACHE_HOME or MODELHUB_TEST_CACHE".to_owned())
}

fn folder_in(root: &Path, name: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let complete = root.join(name);
    if complete.is_dir() {
        return Ok(complete);
    }
    let failed = |error| format!("the cache {} cannot be written ({error}): set MODELHUB_TEST_CACHE", root.display());
    fs::create_dir_all(root).map_err(failed)?;
    let lock = File::create(root.join(format!("{name}.lock"))).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if complete.is_dir() {
        return Ok(complete);
    }
    let partial = tempfile::Builder::new().prefix(&format!("{name}.")).tempdir_in(root).map_err(failed)?;
    install(partial.path())?;
    fs::rename(partial.keep(), &complete).map_err(failed)?;
    Ok(complete)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::folder_in;

    #[test]
    fn installs_once_and_whole_or_not_at_all() {
        let root = tempfile::tempdir().expect("a folder");
        let failed = folder_in(root.path(), "a", |folder| {
            fs::write(folder.join("half"), "").expect("a file");
            Err("cut off".to_owned())
        });
        assert_eq!(failed, Err("cut off".to_owned()));
        let installs = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let folder = folder_in(root.path(), "a", |folder| {
                        installs.fetch_add(1, Ordering::Relaxed);
                        fs::write(folder.join("whole"), "").map_err(|error| error.to_string())
                    });
                    let folder = folder.expect("installed");
                    assert!(folder.join("whole").is_file() && !folder.join("half").exists());
                });
            }
        });
        assert_eq!(installs.into_inner(), 1);
        let mut left: Vec<_> =
            fs::read_dir(root.path()).expect("a folder").map(|e| e.expect("e").file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "a.lock"]);
    }
}
