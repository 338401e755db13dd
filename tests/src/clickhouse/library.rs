//! The engine as a library, `libchdb.so`, and the front that serves it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::temporary::{self, output};
use crate::watchdog::{Signal, Watchdog};
use crate::{cache, npm};

const PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
const VERSION: &str = "26.5.3";

/// Starts the front in a temporary folder, building it and downloading the engine where that was not done yet.
///
/// # Errors
///
/// What is missing, or what failed.
pub(super) fn launch(port: u16) -> Result<Watchdog, String> {
    let library = library()?;
    let folder = temporary::folder()?;
    let mut command = Command::new(front()?);
    command.arg(library).arg(folder.path().join("databases")).arg(format!("127.0.0.1:{port}"));
    let watchdog = Watchdog::new(&command, folder, Signal::Kill, None)?;
    watchdog.start()?;
    Ok(watchdog)
}

fn library() -> Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        return Err("ClickHouse's engine is to be had as a library for Linux on x86-64 only, and no clickhouse was \
                    found on PATH: install ClickHouse 24.1 or newer, or set CLICKHOUSE_URL"
            .to_owned());
    }
    let folder = cache::folder(&format!("chdb-{VERSION}"), download)?;
    Ok(within(&folder))
}

fn within(folder: &Path) -> PathBuf {
    folder.join("node_modules").join(PACKAGE).join("libchdb.so")
}

fn download(folder: &Path) -> Result<(), String> {
    let missing = "ClickHouse is not here yet: no clickhouse (24.1 or newer) was found on PATH, and no npm to download its \
                   engine (looked on PATH, or only at $MODELHUB_TEST_NPM where that is set): apt-get install npm, or set \
                   CLICKHOUSE_URL";
    npm::install(folder, PACKAGE, VERSION, missing)?;
    let library = within(folder);
    if library.is_file() { Ok(()) } else { Err(format!("{PACKAGE} {VERSION} came without libchdb.so")) }
}

/// Builds the front beside the running test, and tells where it is.
fn front() -> Result<PathBuf, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--package", "clickhouse-front", "--message-format=json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // The test is `TARGET_DIR/PROFILE/deps/NAME`; the front's build shares its folder, its lock and what is compiled.
    let test = env::current_exe().map_err(|error| format!("where does this test run? {error}"))?;
    if let Some(target) = test.ancestors().nth(3) {
        command.arg("--target-dir").arg(target);
    }
    let messages = output(&mut command).map_err(|error| format!("ClickHouse's front could not be built: {error}"))?;
    executable(&messages).ok_or_else(|| "cargo did not tell where ClickHouse's front is".to_owned())
}

/// The path in the last `"executable":"…"` of cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    let (_, rest) = messages.rsplit_once(r#""executable":""#)?;
    let (path, _) = rest.split_once('"')?;
    // JSON escapes a backslash or a quote, and nothing else that paths here can have.
    Some(PathBuf::from(path.replace(r"\\", r"\")))
}
