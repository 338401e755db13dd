//! Temporary folders, and the user who may run an engine in one.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Creates a temporary folder; it is removed on drop until somebody keeps it.
pub(crate) fn folder() -> Result<TempDir, String> {
    tempfile::Builder::new()
        .prefix("modelhub-test-")
        .tempdir()
        .map_err(|error| format!("no temporary folder could be made in {}: {error}", std::env::temp_dir().display()))
}

/// A user of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Whom a server that refuses root is to run as, having `folder` made over to him; `None` when we are not root.
    ///
    /// # Errors
    ///
    /// There is no such user, or the folder cannot be made over.
    pub(crate) fn instead_of_root(folder: &Path) -> Result<Option<Self>, String> {
        let failed = |error| format!("{}: {error}", folder.display());
        if fs::metadata(folder).map_err(failed)?.uid() != 0 {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
        let user = ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::find(&accounts, name))
            .ok_or("PostgreSQL refuses to run as root, and /etc/passwd has neither postgres nor nobody")?;
        chown(folder, Some(user.uid), Some(user.gid)).map_err(failed)?;
        Ok(Some(user))
    }

    fn find(accounts: &str, name: &str) -> Option<Self> {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            Some(Self { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
        })
    }

    /// Makes `command` run as this user.
    pub(crate) fn runs(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// The last lines of a text, for a message.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// What `program` prints; it must succeed.
///
/// # Errors
///
/// It cannot be run, or fails: then what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let program = PathBuf::from(command.get_program());
    let output = command.output().map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{} failed ({}): {}", program.display(), output.status, tail(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::{User, tail};

    #[test]
    fn users_are_found_by_their_whole_name() {
        let accounts = "root:x:0:0::/root:/bin/sh\npostgresql:x:7:8::/:\npostgres:x:101:104:a,b:/var:/bin/sh\n";
        assert_eq!(User::find(accounts, "postgres"), Some(User { uid: 101, gid: 104 }));
        assert_eq!(User::find(accounts, "nobody"), None);
    }

    #[test]
    fn tails_are_short() {
        let text = (0..100).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
        assert!(tail(&text).starts_with("80\n81") && tail(&text).ends_with("98\n99"));
        assert_eq!(tail(""), "");
    }
}
