//! A `ClickHouse` server that is installed here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lookup;
use crate::temporary::{self, output};
use crate::watchdog::{Signal, Watchdog};

/// Distributions still carry servers of 2018, which know little of what we ask for.
const OLDEST: u32 = 24;

/// The program `clickhouse`, if a usable one is installed, and if `MODELHUB_TEST_CLICKHOUSE` is not empty.
///
/// # Errors
///
/// The program that `MODELHUB_TEST_CLICKHOUSE` names is not there or too old.
pub(super) fn find() -> Result<Option<PathBuf>, String> {
    let Some(named) = env::var_os("MODELHUB_TEST_CLICKHOUSE").map(PathBuf::from) else {
        let program = lookup::on_path("clickhouse", &env::var_os("PATH").unwrap_or_default());
        return Ok(program.filter(|program| is_usable(program)));
    };
    if named.as_os_str().is_empty() {
        Ok(None)
    } else if is_usable(&named) {
        Ok(Some(named))
    } else {
        Err(format!("{} ($MODELHUB_TEST_CLICKHOUSE) is no ClickHouse of {OLDEST}.1 or newer", named.display()))
    }
}

fn is_usable(program: &Path) -> bool {
    let version = output(Command::new(program).args(["server", "--version"])).unwrap_or_default();
    lookup::version(&version).first().is_some_and(|year| *year >= OLDEST)
}

/// Starts the server in a temporary folder.
///
/// # Errors
///
/// The folder cannot be written.
pub(super) fn launch(program: &Path, port: u16) -> Result<Watchdog, String> {
    let folder = temporary::folder()?;
    let path = folder.path().display();
    let file = folder.path().join("config.xml");
    fs::write(&file, config(folder.path(), port)).map_err(|error| format!("{path}: {error}"))?;
    let mut command = Command::new(program);
    command.arg("server").arg("--config-file").arg(&file).current_dir(folder.path());
    let watchdog = Watchdog::new(&command, folder, Signal::Kill, None)?;
    watchdog.start()?;
    Ok(watchdog)
}

fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "<clickhouse>
  <logger><level>warning</level><console>true</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{port}</http_port>
  <path>{folder}/data/</path>
  <tmp_path>{folder}/tmp/</tmp_path>
  <user_files_path>{folder}/files/</user_files_path>
  <format_schema_path>{folder}/schemas/</format_schema_path>
  <user_directories><users_xml><path>{folder}/config.xml</path></users_xml></user_directories>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users><default>
    <password></password>
    <networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
  </default></users>
</clickhouse>
"
    )
}
