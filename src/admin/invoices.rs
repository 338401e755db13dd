//! `modelhub admin invoices`.

use anyhow::Result;
use gateway::ports::Ledger;
use schemas::api::{Invoice, InvoiceHead, InvoiceQuery, Invoices, InvoicesQuery, IssueInvoices, IssuedInvoices};
use schemas::{AccountId, Month};

use crate::cli::InvoicesCommand;
use crate::print;

/// Invoices asked for at once.
const PAGE: u32 = 1_000;

pub(super) async fn run(ledger: &dyn Ledger, command: InvoicesCommand, json: bool) -> Result<()> {
    match command {
        InvoicesCommand::Issue { month } => issue(ledger, month, json).await,
        InvoicesCommand::List { account } => list(ledger, account, json).await,
        InvoicesCommand::Show { number } => {
            show(&ledger.invoice(InvoiceQuery { number, account_id: None }).await?, json)
        }
    }
}

/// All pages of accounts.
async fn issue(ledger: &dyn Ledger, through: Month, json: bool) -> Result<()> {
    let mut all = IssuedInvoices { issued: 0, next: None };
    loop {
        let page = ledger.issue_invoices(IssueInvoices { through, after: all.next }).await?;
        all = IssuedInvoices { issued: all.issued + page.issued, next: page.next };
        if all.next.is_none() {
            break;
        }
    }
    if json {
        return print::json(&all);
    }
    print::rows(&[&["month", &through.to_string()], &["issued", &format!("{} invoices", all.issued)]])
}

async fn list(ledger: &dyn Ledger, account_id: Option<AccountId>, json: bool) -> Result<()> {
    let mut all = Invoices { invoices: Vec::new(), next: None };
    loop {
        let page = ledger.invoices(InvoicesQuery { account_id, after: all.next, limit: PAGE }).await?;
        all.invoices.extend(page.invoices);
        all.next = page.next;
        if all.next.is_none() {
            break;
        }
    }
    if json {
        return print::json(&all);
    }
    let mut table = vec![["number", "month", "account", "issued"].map(str::to_owned).to_vec()];
    for InvoiceHead { number, month, account_id, issued_at, .. } in all.invoices {
        table.push(vec![number.to_string(), month.to_string(), account_id.to_string(), issued_at.to_string()]);
    }
    print::table(&table)
}

fn show(invoice: &Invoice, json: bool) -> Result<()> {
    if json {
        return print::json(invoice);
    }
    let head = &invoice.head;
    print::rows(&[
        &["invoice", &head.number.to_string()],
        &["account", &head.account_id.to_string()],
        &["month", &head.month.to_string()],
        &["issued", &head.issued_at.to_string()],
        &["log", &format!("through {}", head.through)],
    ])?;
    let row = |what: &str, amount: schemas::Usd| vec![what.to_owned(), amount.to_string()];
    let mut table = vec![vec![], vec!["what".to_owned(), "USD".to_owned()]];
    table.push(row("opening balance", invoice.opening_usd));
    table.extend(invoice.lines.iter().map(|line| row(&line.item.to_string(), line.amount_usd)));
    table.push(row("closing balance", invoice.closing_usd));
    print::table(&table)
}
