//! What the command line prints: a table, or JSON.

use anyhow::Result;
use schemas::api::{Balance, EntryDetail, Granted, IssuedKey, OpenedAccount, Statement};

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

pub(super) fn balance(balance: &Balance, as_json: bool) -> Result<()> {
    if as_json {
        return json(balance);
    }
    let mut table = vec![
        vec!["account".to_owned(), balance.account_id.to_string()],
        vec!["balance".to_owned(), format!("{} USD", balance.balance_usd)],
        vec!["debt".to_owned(), format!("{} USD", balance.debt_usd)],
        vec!["as of".to_owned(), format!("log position {}", balance.version)],
    ];
    for lot in &balance.lots {
        let source = format!("{:?}", lot.source).to_lowercase();
        table.push(vec![
            format!("{source} lot"),
            format!("{} of {} USD ({})", lot.remaining_usd, lot.amount_usd, lot.lot_id),
        ]);
    }
    print(&table)
}

pub(super) fn statement(statement: &Statement, as_json: bool) -> Result<()> {
    if as_json {
        return json(statement);
    }
    let mut table = vec![["time", "what", "amount USD", "balance USD"].map(str::to_owned).to_vec()];
    for entry in &statement.entries {
        let what = match &entry.detail {
            EntryDetail::Credit { reason, .. } => format!("credit: {reason}"),
            EntryDetail::Usage { model, tokens, outcome, accuracy, .. } => format!(
                "{model}: {} + {} tokens, {}, {}",
                tokens.prompt,
                tokens.completion,
                outcome.as_str(),
                accuracy.as_str()
            ),
        };
        table.push(vec![entry.time.to_string(), what, entry.amount_usd.to_string(), entry.balance_usd.to_string()]);
    }
    table.push(vec![String::new(), "closing balance".to_owned(), String::new(), statement.closing_usd.to_string()]);
    print(&table)
}
