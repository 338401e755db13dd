//! `modelhub admin quarantine`: on the stores themselves, which may be in use.

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::quarantine::{self, Retried};
use ledger::{APPLY_TIMEOUT, StoredQuarantine};
use schemas::{AccountId, EventId, Position};
use serde::Serialize;

use crate::cli::QuarantineCommand;
use crate::config::Loaded;
use crate::data_dir::DataDir;
use crate::metrics::Metrics;
use crate::services::embedded::Embedded;
use crate::{print, stores};

/// Rows asked for at once.
const PAGE: u32 = 1_000;

#[derive(Serialize)]
struct Row {
    position: String,
    event_id: Option<EventId>,
    account_id: Option<AccountId>,
    reason: String,
    detail: String,
    /// Where a later record of the event posted; of a reused id, where the fact posted that has it.
    posted_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
}

impl Row {
    fn of(row: &StoredQuarantine, posted: Option<Position>) -> Self {
        Self {
            position: row.position.to_string(),
            event_id: row.event_id,
            account_id: row.account_id,
            reason: row.reason.clone(),
            detail: row.detail.clone(),
            posted_at: posted.map(|posted| posted.to_string()),
            record: None,
            record_base64: None,
        }
    }

    fn with_record(self, record: &[u8]) -> Self {
        match std::str::from_utf8(record) {
            Ok(text) => Self { record: Some(text.to_owned()), ..self },
            Err(_) => Self { record_base64: Some(STANDARD.encode(record)), ..self },
        }
    }

    fn id(id: Option<impl ToString>) -> String {
        id.map_or_else(|| "unknown".to_owned(), |id| id.to_string())
    }
}

pub(super) async fn run(loaded: Loaded, command: QuarantineCommand, json: bool) -> Result<()> {
    match command {
        QuarantineCommand::List => list(&loaded, json).await,
        QuarantineCommand::Show { position } => show(&loaded, position, json).await,
        QuarantineCommand::Retry { position } => retry(loaded, position, json).await,
    }
}

async fn list(loaded: &Loaded, json: bool) -> Result<()> {
    let store = stores::ledger_as_is(&loaded.config).await?;
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = store.quarantine(after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.position);
        rows.extend(page.iter().map(|(row, posted)| Row::of(row, *posted)));
    }
    store.close().await;
    if json {
        return print::json(&rows);
    }
    let mut table =
        vec![["record", "event", "account", "reason", "posted since at", "detail"].map(str::to_owned).to_vec()];
    for row in rows {
        let posted = row.posted_at.unwrap_or_else(|| "–".to_owned());
        table.push(vec![row.position, Row::id(row.event_id), Row::id(row.account_id), row.reason, posted, row.detail]);
    }
    print::table(&table)
}

async fn show(loaded: &Loaded, position: Position, json: bool) -> Result<()> {
    let store = stores::ledger_as_is(&loaded.config).await?;
    let (found, posted) = quarantine::at(&*store, position).await?;
    store.close().await;
    let row = Row::of(&found, posted).with_record(&found.record);
    if json {
        return print::json(&row);
    }
    let posted = row.posted_at.unwrap_or_else(|| "no".to_owned());
    print::rows(&[
        &["record", &row.position],
        &["event", &Row::id(row.event_id)],
        &["account", &Row::id(row.account_id)],
        &["reason", &row.reason],
        &["detail", &row.detail],
        &["posted since", &posted],
    ])?;
    let content = row.record.or_else(|| row.record_base64.map(|text| format!("(base64) {text}"))).unwrap_or_default();
    print::out(&format!("\n{}\n", print::plain(&content, true)))
}

/// What the running ledger makes of the event, or, on a data folder that nobody uses, this process.
async fn retry(loaded: Loaded, position: Position, json: bool) -> Result<()> {
    let config = loaded.config;
    let store = stores::ledger(&config).await?;
    let log = stores::log(&config).await?;
    let own = if stores::is_distributed(&config) { None } else { DataDir::take(&config.data_dir)? };
    let embedded = match &own {
        Some(data) => {
            Some(Embedded::start(data, loaded.catalogue, config.key_pepper, &mut Metrics::new("admin")?).await?)
        }
        None => None,
    };
    let retried = quarantine::retry(&*store, &*log, position, APPLY_TIMEOUT).await;
    let stopped = match embedded {
        Some(embedded) => embedded.stop().await,
        None => Ok(()),
    };
    store.close().await;
    let retried = retried?;
    stopped?;
    match retried {
        Retried::Posted { appended, account, amount, balance } => {
            let appended = appended.map_or_else(|| "nothing: it had posted already".to_owned(), |at| at.to_string());
            if json {
                return print::json(&serde_json::json!({
                    "posted": true, "appended": appended, "account_id": account, "amount_usd": amount,
                    "balance_usd": balance,
                }));
            }
            print::rows(&[
                &["posted to", &account.to_string()],
                &["amount", &format!("{amount} USD")],
                &["balance", &format!("{balance} USD")],
                &["appended", &appended],
            ])
        }
        Retried::Quarantined { appended, reason, detail } => {
            bail!(
                "the event at {position} can't post this time either; it is in quarantine at {appended} as {reason}: {detail}"
            )
        }
    }
}
