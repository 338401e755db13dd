//! `modelhub audit`: the log against the databases.

mod print;
mod usage;

use std::time::Instant;

use anyhow::{Result, bail};
use ledger::audit;

use self::usage::Usage;
use crate::cli::Audit;
use crate::config::Loaded;
use crate::stores;

/// Compares, prints, and fails where anything differs.
pub(crate) async fn run(loaded: Loaded, command: Audit) -> Result<()> {
    let config = &loaded.config;
    let log = stores::log(config).await?;
    let begun = Instant::now();
    let at = command.at.as_ref();
    let report = if command.replay_only {
        audit::audit(&log, None, at, &mut ()).await?
    } else {
        let store = stores::ledger_as_is(config).await?;
        // Usage has no past: its totals are of now.
        let mut usage = match at {
            Some(_) => Usage::left_out(),
            None => Usage::of(config).await,
        };
        let snapshot = usage.wait_for(&*store).await?;
        let mut report = audit::audit(&log, Some(snapshot), at, &mut usage).await?;
        usage.compare(&mut report);
        store.close().await;
        report
    };
    print::report(&report, at.is_some(), command.json, begun.elapsed())?;
    match report.differences() {
        0 => Ok(()),
        differences => bail!("{differences} differences between the log and the database"),
    }
}
