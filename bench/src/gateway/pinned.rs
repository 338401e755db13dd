//! Which processor runs what: the proxy that is measured has one for itself, as far as the machine lets it.

use std::process::Command;

/// Where the proxy runs.
pub(super) const PROXY: &str = "0";
/// Where clients, upstream and engines run.
pub(super) const OTHERS: &str = "1";

/// `program`, on that processor alone.
pub(super) fn command(processor: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", processor]).arg(program);
    command
}
