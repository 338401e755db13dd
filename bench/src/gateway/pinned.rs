//! Which processor runs what: the proxy that is measured has one for itself, as far as the machine lets it.

use std::process::Command;

use anyhow::{Context, ensure};

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

/// Clients and upstream: beside the engines, and before them where the system lets us. What they wait for a processor would count
/// as the proxy's time; only one proxy has engines at work.
pub(super) fn before_others(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = command(OTHERS, "nice");
    command.args(["--adjustment=-10"]).arg(program);
    command
}

/// Moves this process there, and with it whatever it starts without saying where: the engines.
pub(super) fn this_process(processor: &str) -> anyhow::Result<()> {
    let id = std::process::id().to_string();
    let moved = Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", processor, &id]).output();
    let moved = moved.context("taskset")?;
    ensure!(moved.status.success(), "taskset: {}", String::from_utf8_lossy(&moved.stderr));
    Ok(())
}
