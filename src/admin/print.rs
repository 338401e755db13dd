//! What the command line prints: a table, or JSON.

mod entry;

use std::io::Write as _;

use anyhow::{Context as _, Result};
use schemas::api::{Balance, Granted, IssuedKey, OpenedAccount, Statement};
use serde::Serialize;

pub(super) fn opened(opened: &OpenedAccount, as_json: bool) -> Result<()> {
    if as_json {
        return json(opened);
    }
    rows(&[
        &["account", &opened.account_id.to_string()],
        &["key id", &opened.key.key_id.to_string()],
        &["key (shown only now)", &opened.key.secret],
    ])
}

pub(super) fn issued(issued: &IssuedKey, as_json: bool) -> Result<()> {
    if as_json {
        return json(issued);
    }
    rows(&[&["key id", &issued.key_id.to_string()], &["key (shown only now)", &issued.secret]])
}

pub(super) fn granted(granted: &Granted, as_json: bool) -> Result<()> {
    if as_json {
        return json(granted);
    }
    rows(&[&["lot", &granted.lot_id.to_string()], &["balance", &format!("{} USD", granted.balance_usd)]])
}

pub(super) fn balance(balance: &Balance, as_json: bool) -> Result<()> {
    if as_json {
        return json(balance);
    }
    let mut table = vec![
        vec!["account".to_owned(), balance.account_id.to_string()],
        vec!["balance".to_owned(), format!("{} USD", balance.balance_usd)],
        vec!["debt".to_owned(), format!("{} USD", balance.debt_usd)],
        vec!["frozen".to_owned(), format!("{} USD", balance.frozen_usd)],
        vec!["as of".to_owned(), format!("log position {}", balance.version)],
    ];
    for lot in &balance.lots {
        table.push(vec![
            format!("{} lot", lot.source.as_str()),
            format!("{} of {} USD ({})", lot.remaining_usd, lot.amount_usd, lot.lot_id),
        ]);
    }
    if let Some(subscription) = &balance.subscription {
        let period = subscription.period;
        table.push(vec!["plan period".to_owned(), format!("{} to {}", period.start, period.end)]);
    }
    for lot in &balance.token_lots {
        let kind = if lot.rolled_over { "rolled-over tokens" } else { "plan tokens" };
        table.push(vec![kind.to_owned(), format!("{} of {} ({})", lot.remaining, lot.granted, lot.lot_id)]);
    }
    print(&table)
}

pub(super) fn statement(statement: &Statement, as_json: bool) -> Result<()> {
    if as_json {
        return json(statement);
    }
    let mut table = vec![["time", "what", "amount USD", "balance USD"].map(str::to_owned).to_vec()];
    for entry in &statement.entries {
        let what = entry::describe(&entry.detail);
        table.push(vec![entry.time.to_string(), what, entry.amount_usd.to_string(), entry.balance_usd.to_string()]);
    }
    table.push(vec![String::new(), "closing balance".to_owned(), String::new(), statement.closing_usd.to_string()]);
    print(&table)
}

fn json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("writing JSON")?;
    text.push('\n');
    out(&text)
}

fn rows(table: &[&[&str]]) -> Result<()> {
    print(&table.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect::<Vec<_>>())
}

/// Columns as wide as their widest cell, two spaces apart.
fn print(table: &[Vec<String>]) -> Result<()> {
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in table {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    out(&text)
}

fn out(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")
}
