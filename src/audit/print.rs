//! What an audit prints.

use std::time::Duration;

use anyhow::Result;
use ledger::audit::Report;
use schemas::Offset;
use serde::Serialize;

use crate::print;

/// Findings printed of each section; JSON has more.
const SHOWN: usize = 5;

#[derive(Serialize)]
struct Json<'a> {
    clean: bool,
    differences: u64,
    records: u64,
    seconds: f64,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn report(report: &Report, then: bool, as_json: bool, took: Duration) -> Result<()> {
    let (differences, records, seconds) = (report.differences(), report.records(), took.as_secs_f64());
    if as_json {
        return print::json(&Json { clean: differences == 0, differences, records, seconds, report });
    }
    if then {
        accounts(report)?;
    }
    progress(report)?;
    let mut table = vec![["compared", "", "differences"].map(str::to_owned).to_vec()];
    for (section, tally) in &report.sections {
        let row = [section.name().to_owned(), tally.compared.to_string(), tally.differences.to_string()];
        table.push(row.to_vec());
    }
    if table.len() > 1 {
        print::table(&table)?;
    }
    print::out(&print::plain(&words(report, seconds), true))
}

/// What stands below the table: what differs, and the verdict.
fn words(report: &Report, seconds: f64) -> String {
    let (differences, records) = (report.differences(), report.records());
    let mut lines = vec![String::new()];
    for (section, tally) in &report.sections {
        let of_section = report.findings.iter().filter(|(of, _)| of == section);
        lines.extend(of_section.take(SHOWN).map(|(_, finding)| format!("{}: {finding}", section.name())));
        let hidden = tally.differences.saturating_sub(SHOWN as u64);
        if hidden > 0 {
            lines.push(format!("{}: and {hidden} more", section.name()));
        }
    }
    if let Some(first) = &report.first {
        lines.push(format!("\nfirst difference: {first}\n"));
    }
    let waiting: u64 = report.partitions.values().map(|partition| partition.waiting).sum();
    if waiting > 0 {
        lines.push(format!("{waiting} records of the log are not applied yet, and were not looked at"));
    }
    let empty = report.partitions.values().all(|partition| partition.end == Offset(0));
    let verdict = match differences {
        0 if empty => "clean, as the log is empty",
        0 => "clean",
        _ => "NOT CLEAN",
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
    let rate = records as f64 / seconds.max(1e-9);
    lines.push(format!("{verdict}: {records} records in {seconds:.1} s ({rate:.0} a second)"));
    lines.push(format!("state {}\n", report.state_hash));
    lines.join("\n")
}

/// How far the stores are in the log. What they have not applied yet is no difference, but nobody compared it either.
fn progress(report: &Report) -> Result<()> {
    let heading = ["partition", "log ends at", "ledger at", "behind", "usage at", "usage behind"];
    let mut table = vec![heading.map(str::to_owned).to_vec()];
    for (partition, replayed) in &report.partitions {
        let usage = replayed.usage.map_or_else(
            || ["–".to_owned(), "–".to_owned()],
            |usage| [usage.position.to_string(), usage.waiting.to_string()],
        );
        let places = [replayed.end.to_string(), replayed.applied.to_string(), replayed.waiting.to_string()];
        table.push([vec![partition.to_string()], places.to_vec(), usage.to_vec()].concat());
    }
    print::table(&table)?;
    print::out("\n")
}

fn accounts(report: &Report) -> Result<()> {
    let mut table =
        vec![["account", "balance USD", "debt USD", "lots", "plan tokens", "last record"].map(str::to_owned).to_vec()];
    for account in &report.accounts {
        table.push(vec![
            account.account_id.to_string(),
            account.balance_usd.to_string(),
            account.debt_usd.to_string(),
            account.lots.to_string(),
            account.plan_tokens.to_string(),
            account.version.to_string(),
        ]);
    }
    print::table(&table)?;
    print::out("\n")
}
