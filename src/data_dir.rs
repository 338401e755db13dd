//! The data folder: the embedded stores, this machine's secrets, and how the command line finds the running system.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rand::Rng as _;
use schemas::config::Secret;
use serde::{Deserialize, Serialize};

const LOCK: &str = "lock";
const CONTROL: &str = "control.json";

/// Bytes of randomness of a secret made here.
const SECRET_BYTES: usize = 32;

/// The data folder, owned by this process until it ends: two processes never write the same stores.
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked for as long as it is open. The operating system lets go when the process ends, however it ends.
    _lock: File,
}

/// Where the running system's private port is, for the command line.
#[derive(Serialize, Deserialize)]
pub(crate) struct Control {
    /// `http://host:port`
    pub(crate) url: String,
    /// The shared secret of that port; the file is readable by its owner alone.
    pub(crate) secret: String,
}

impl DataDir {
    /// Takes the folder, and makes it, for its owner alone, where there is none. `None` where a running process has it.
    pub(crate) fn take(path: &Path) -> Result<Option<Self>> {
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700);
        folder.create(path).with_context(|| format!("making the data folder {}", path.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .with_context(|| format!("opening {}", path.join(LOCK).display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    /// A file of the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A secret of this installation, made on first use and kept in a file that its owner alone can read.
    pub(crate) fn secret(&self, name: &str) -> Result<Secret> {
        let path = self.path.join(name);
        let mut text = String::new();
        match File::open(&path) {
            Ok(mut file) => {
                file.read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                text = fresh_secret();
                write_private(&path, &text)?;
            }
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        }
        if text.trim().len() < SECRET_BYTES {
            bail!("{} is too short for a secret; restore it from a backup", path.display());
        }
        Ok(Secret::new(text.trim().to_owned()))
    }

    /// Tells the command line where this process's private port is.
    pub(crate) fn publish_control(&self, control: &Control) -> Result<()> {
        write_private(&self.path.join(CONTROL), &serde_json::to_string(control)?)
    }

    /// Reads a small file of the folder; `None` where there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>> {
        match std::fs::read_to_string(self.file(name)) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", self.file(name).display())),
        }
    }

    /// Writes a small file of the folder, readable by its owner alone.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        write_private(&self.file(name), text)
    }
}

/// The private port of the process that has the folder.
pub(crate) fn read_control(path: &Path) -> Result<Control> {
    let path = path.join(CONTROL);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// A fresh secret, as hexadecimal digits.
pub(crate) fn fresh_secret() -> String {
    let mut bytes = [0_u8; SECRET_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

/// Writes a file whole or not at all, durably: a half-written pepper would lock out every key.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_process_has_the_folder_and_secrets_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/data");
        let first = DataDir::take(&path).unwrap().unwrap();
        assert!(DataDir::take(&path).unwrap().is_none());
        let pepper = first.secret("pepper").unwrap();
        assert_eq!(pepper.expose().len(), 64);
        let mode = std::fs::metadata(path.join("pepper")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // The stores hold personal data.
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(first);
        let second = DataDir::take(&path).unwrap().unwrap();
        assert!(second.secret("pepper").unwrap() == pepper);
        assert!(second.secret("other").unwrap() != pepper);
        std::fs::write(path.join("pepper"), "short").unwrap();
        assert!(second.secret("pepper").is_err());
    }
}
