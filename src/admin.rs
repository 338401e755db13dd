//! `modelhub admin`: on the running system over its private port, else on the data folder.

mod gateways;
mod invoices;
mod print;
mod quarantine;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use gateway::ledger_http::HttpLedger;
use gateway::ports::Ledger;
use ledger::audit::At;
use schemas::api::{GrantCredit, IssueKey, OpenAccount, Statement, StatementEntry, StatementQuery};
use schemas::config::Secret;
use schemas::{AccountId, Offset, PartitionId, Timestamp, Usd};

use crate::adapters::InProcessLedger;
use crate::cli::{Admin, AdminCommand};
use crate::config::Loaded;
use crate::data_dir::{self, DataDir};
use crate::metrics::Metrics;
use crate::services::embedded::Embedded;

/// Entries asked for at once.
const PAGE: u32 = 1_000;

/// Carries out one command.
pub(crate) async fn run(loaded: Loaded, admin: Admin) -> Result<()> {
    if let AdminCommand::Quarantine { command } = admin.command {
        return quarantine::run(loaded, command, admin.json).await;
    }
    if let AdminCommand::Gateways { command } = admin.command {
        return gateways::run(&loaded, command, admin.json).await;
    }
    if let Some(url) = &loaded.config.ledger.url {
        let secret = loaded.config.ledger.secret.as_ref().context("ledger.url is set, but ledger.secret is not")?;
        return command(&HttpLedger::new(url, secret)?, admin).await;
    }
    match DataDir::take(&loaded.config.data_dir)? {
        None => {
            let control = data_dir::read_control(&loaded.config.data_dir)?;
            command(&HttpLedger::new(&control.url, &Secret::new(control.secret))?, admin).await
        }
        Some(data) => {
            let _lines = crate::logging::start();
            let embedded =
                Embedded::start(&data, loaded.catalogue, loaded.config.key_pepper, &mut Metrics::new("admin")?).await?;
            let result = command(&InProcessLedger(Arc::clone(&embedded.ledger)), admin).await;
            let stopped = embedded.stop().await;
            result.and(stopped)
        }
    }
}

async fn command(ledger: &dyn Ledger, admin: Admin) -> Result<()> {
    let json = admin.json;
    match admin.command {
        AdminCommand::OpenAccount { email, plan } => {
            let opened = ledger.open_account(OpenAccount { email, plan }).await?;
            print::opened(&opened, json)
        }
        AdminCommand::IssueKey { account, name, limits } => {
            let command = IssueKey { account_id: account, name, limits: limits.into() };
            print::issued(&ledger.issue_key(command).await?, json)
        }
        AdminCommand::Grant { account, amount, reason, idempotency_key } => {
            let command = GrantCredit { account_id: account, amount_usd: amount, reason, idempotency_key };
            print::granted(&ledger.grant_credit(command).await?, json)
        }
        AdminCommand::ListKeys { account } => print::keys(&ledger.keys(account).await?, json),
        AdminCommand::OnAccount(command) => {
            let (account, command) = command.into_command();
            print::done(&ledger.execute(account, command).await?, json)
        }
        AdminCommand::Balance { account } => print::balance(&ledger.balance(account).await?, json),
        AdminCommand::Statement { account, at } => {
            let until = match at {
                Some(at) => Some(Until::new(at, ledger.account(account).await?.version.partition)?),
                None => None,
            };
            print::statement(&whole_statement(ledger, account, until.as_ref()).await?, json)
        }
        AdminCommand::Invoices { command } => invoices::run(ledger, command, json).await,
        // On the stores themselves, before there is a ledger.
        AdminCommand::Quarantine { .. } | AdminCommand::Gateways { .. } => Ok(()),
    }
}

/// Where a statement of the past ends.
enum Until {
    /// After this record.
    Offset(Offset),
    /// Before the account's first entry that happened later.
    Time(Timestamp),
}

impl Until {
    fn new(at: At, partition: PartitionId) -> Result<Self> {
        match at {
            At::Time(time) => Ok(Self::Time(time)),
            At::Positions(positions) => {
                let offset = positions.get(&partition).with_context(|| {
                    format!("the account's records are in partition {partition}, of which --at names no position")
                })?;
                Ok(Self::Offset(*offset))
            }
        }
    }

    fn has(&self, entry: &StatementEntry) -> bool {
        match self {
            Self::Offset(last) => entry.offset <= *last,
            Self::Time(time) => entry.time <= *time,
        }
    }
}

/// All pages as one, up to `until`. Postings are only ever added at the end, so what is read while others are added is
/// still a statement: as of its last entry.
async fn whole_statement(ledger: &dyn Ledger, account_id: AccountId, until: Option<&Until>) -> Result<Statement> {
    let mut whole =
        Statement { account_id, opening_usd: Usd::ZERO, closing_usd: Usd::ZERO, entries: Vec::new(), next: None };
    loop {
        let page = ledger
            .statement(StatementQuery { account_id, after: whole.next, from: None, to: None, limit: PAGE })
            .await?;
        let within = |entry: &StatementEntry| until.is_none_or(|until| until.has(entry));
        let ends = !page.entries.iter().all(within);
        whole.entries.extend(page.entries.into_iter().take_while(within));
        whole.closing_usd = whole.entries.last().map_or(Usd::ZERO, |last| last.balance_usd);
        whole.next = page.next.filter(|_| !ends);
        if whole.next.is_none() {
            return Ok(whole);
        }
    }
}
