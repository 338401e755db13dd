//! What the command line prints: a table, or JSON.

mod entry;

use anyhow::Result;
use schemas::api::{Balance, Done, Granted, IssuedKey, KeyInfo, OpenedAccount, Statement};
use schemas::event::KeyLimits;

use crate::print::{json, rows, table as print};

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

pub(super) fn done(done: &Done, as_json: bool) -> Result<()> {
    if as_json {
        return json(done);
    }
    let event = done.event_id.map_or_else(|| "none: it is so already".to_owned(), |id| id.to_string());
    rows(&[
        &["event", &event],
        &["amount", &format!("{} USD", done.amount_usd)],
        &["balance", &format!("{} USD", done.balance_usd)],
    ])
}

pub(super) fn keys(keys: &[KeyInfo], as_json: bool) -> Result<()> {
    if as_json {
        return json(&keys);
    }
    let mut table = vec![["key id", "name", "ends in", "limits"].map(str::to_owned).to_vec()];
    table.extend(
        keys.iter().map(|key| vec![key.key_id.to_string(), key.name.clone(), key.hint.clone(), limits(&key.limits)]),
    );
    print(&table)
}

fn limits(limits: &KeyLimits) -> String {
    let models = limits.models.as_ref().map(|models| models.iter().cloned().collect::<Vec<_>>().join(" "));
    let parts = [
        models.map(|models| format!("only {models}")),
        limits.expires_at.map(|end| format!("until {end}")),
        limits.usd_per_day.map(|usd| format!("{usd} USD a day")),
        limits.usd_per_month.map(|usd| format!("{usd} USD a month")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
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
