//! Finding programs.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The program `name`: where the variable `only` names it, or else in the folders of `PATH`.
pub(crate) fn program(name: &str, only: &str) -> Option<PathBuf> {
    match env::var_os(only) {
        Some(program) => Some(PathBuf::from(program)).filter(|program| program.is_file()),
        None => on_path(name, &env::var_os("PATH").unwrap_or_default()),
    }
}

/// The first `name` in the folders of `path`.
pub(crate) fn on_path(name: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The folder `bin` of the newest version `parent/VERSION/bin` that has `program`.
pub(crate) fn newest(parent: &Path, program: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(parent).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let folder = entry.path().join("bin");
        folder.join(program).is_file().then_some((version, folder))
    });
    versions.max_by_key(|(version, _)| *version).map(|(_, folder)| folder)
}

/// The numbers of the first version in `text`: `[17, 0, 15]` of `openjdk version "17.0.15" 2025-04-15`.
pub(crate) fn version(text: &str) -> Vec<u32> {
    let begin = text.find(|character: char| character.is_ascii_digit()).unwrap_or(text.len());
    let rest = &text[begin..];
    let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(rest.len());
    rest[..end].split('.').map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{newest, on_path, version};

    #[test]
    fn programs_and_versions() {
        let folder = tempfile::tempdir().expect("a folder");
        for version in ["9", "15", "x"] {
            fs::create_dir_all(folder.path().join(version).join("bin")).expect("a folder");
        }
        assert_eq!(newest(folder.path(), "initdb"), None);
        for version in ["9", "15"] {
            fs::write(folder.path().join(version).join("bin/initdb"), "").expect("a file");
        }
        let (old, new) = (folder.path().join("9/bin"), folder.path().join("15/bin"));
        assert_eq!(newest(folder.path(), "initdb"), Some(new.clone()));
        let path = std::env::join_paths([folder.path(), &old, &new]).expect("a path");
        assert_eq!(on_path("initdb", &path), Some(old.join("initdb")));
        assert_eq!(on_path("postgres", &path), None);
    }

    #[test]
    fn version_numbers() {
        for (text, numbers) in [
            ("openjdk version \"17.0.15\" 2025-04-15", vec![17, 0, 15]),
            ("java version \"1.8.0_392\"", vec![1, 8, 0]),
            ("ClickHouse server version 26.5.1.", vec![26, 5, 1]),
            ("none", vec![]),
        ] {
            assert_eq!(version(text), numbers, "{text}");
        }
    }
}
