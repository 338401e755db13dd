//! Issuing: each account's open range, up to the end of its month, becomes an event of the operator's stream.

use std::collections::BTreeSet;

use eventlog::Record;
use schemas::api::{IssueInvoices, IssuedInvoices, Refusal};
use schemas::catalogue::PlanTerms;
use schemas::event::{AccountOpenedV1, InvoiceIssuedV1};
use schemas::{AccountId, Event, EventData, EventId, Month, Position, Usd};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::due;
use crate::service::outcome::SOURCE;
use crate::service::{Ledger, LedgerError};
use crate::store::{Fate, Invoiced};

/// Accounts looked at in one call.
const PAGE: u32 = 500;

impl Ledger {
    /// Issues what is due of one page of accounts, up to the end of a month that is over; returns when the ledger has
    /// applied it. An account that has several months to be invoiced gets an invoice for each.
    ///
    /// It may be repeated and run in several places at once: whoever begins where another one began means the same event.
    pub async fn issue_invoices(&self, command: IssueInvoices) -> Result<IssuedInvoices, LedgerError> {
        let IssueInvoices { through, after } = command;
        if self.parts.outside.now() < through.end() {
            let detail = format!("{through} is not over yet; the last month that can be invoiced is the one before");
            return Err(Refusal::Invalid { field: "month".into(), detail }.into());
        }
        // What waits to be applied would be on the next invoice.
        if after.is_none() {
            let waited = self.parts.apply_timeout;
            let late = |_| LedgerError::Unavailable(format!("the log is not applied yet after {waited:?}; try again"));
            timeout(waited, self.catch_up()).await.map_err(late)??;
        }
        let _turn = self.turn(AccountId::OPERATOR).await;
        let mut issued = BTreeSet::new();
        loop {
            let page = self.parts.store.invoiced(after, PAGE).await?;
            let next = page.last().map(|last| last.account_id).filter(|_| page.len() >= PAGE as usize);
            let due = self.due(&page, through).await?;
            if due.is_empty() {
                return Ok(IssuedInvoices { issued: issued.len() as u64, next });
            }
            for invoice in &due {
                // It was applied in the round before, so the range must have begun after it.
                if !issued.insert(invoice.event_id()) {
                    return Err(LedgerError::Unavailable(format!(
                        "invoice {} of account {} was issued, but the ledger's store does not have it; run `modelhub audit`",
                        invoice.event_id(),
                        invoice.account_id
                    )));
                }
            }
            self.open_operators_account().await?;
            self.post_all(due).await?;
        }
    }

    /// The next invoice of each account that has one due.
    async fn due(&self, page: &[Invoiced], through: Month) -> Result<Vec<InvoiceIssuedV1>, LedgerError> {
        let mut due = Vec::new();
        for account in page {
            let Some(month) = due::month(account).filter(|month| *month <= through) else { continue };
            let after = account.last.map(|(last, _)| last);
            if let Some(through) = self.parts.store.cut(account.account_id, after, month.end()).await? {
                let (account_id, partition) = (account.account_id, account.partition);
                due.push(InvoiceIssuedV1 { account_id, month, partition, after, through });
            }
        }
        Ok(due)
    }

    pub(in crate::service) async fn open_operators_account(&self) -> Result<(), LedgerError> {
        let account = AccountId::OPERATOR;
        if self.parts.store.load(&BTreeSet::from([account]), &BTreeSet::new()).await?.accounts.contains_key(&account) {
            return Ok(());
        }
        let opened = EventData::AccountOpened(AccountOpenedV1 { plan: operators_plan() });
        self.post(EventId(account.derive("account.opened")), account, opened, "month").await.map(drop)
    }

    /// Appends at once what one by one would take the log's durability each time. All of it is in one partition.
    async fn post_all(&self, invoices: Vec<InvoiceIssuedV1>) -> Result<(), LedgerError> {
        let unavailable = |error: &dyn std::fmt::Display| LedgerError::Unavailable(error.to_string());
        let time = self.parts.outside.now();
        let mut appends = JoinSet::new();
        for data in invoices {
            let (id, subject) = (data.event_id(), AccountId::OPERATOR);
            let event = Event { id, source: SOURCE.into(), subject, time, data: EventData::InvoiceIssued(data) };
            let payload = event.encode().map_err(|error| unavailable(&error))?.into();
            let log = std::sync::Arc::clone(&self.parts.log);
            appends.spawn(async move { (id, log.append(Record { key: subject, payload }).await) });
        }
        let mut appended: Vec<(EventId, Position)> = Vec::new();
        while let Some(done) = appends.join_next().await {
            let (id, position) = done.map_err(|error| unavailable(&error))?;
            appended.push((id, position.map_err(|error| unavailable(&error))?));
        }
        let Some(last) = appended.iter().map(|(_, position)| *position).max() else { return Ok(()) };
        self.wait_until_applied(last).await?;
        for (id, position) in appended {
            match self.parts.store.fate(id, position).await? {
                Some(Fate::Posted { account: AccountId::OPERATOR, .. }) => {}
                Some(Fate::Quarantined { reason, detail }) => {
                    return Err(LedgerError::Unavailable(format!(
                        "invoice {id} at {position} was quarantined as {reason}: {detail}"
                    )));
                }
                Some(Fate::Posted { .. }) | None => {
                    return Err(LedgerError::Unavailable(format!(
                        "invoice {id} at {position} was applied, but the ledger's store knows nothing of it; run \
                         `modelhub audit`"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// An account has a plan; the operator's own buys nothing.
fn operators_plan() -> PlanTerms {
    PlanTerms {
        id: "operator".into(),
        price_usd: Usd::ZERO,
        tokens_per_month: 0,
        rollover_tokens: 0,
        requests_per_minute: 0,
        max_in_flight: 0,
        max_keys: Some(0),
        trial_credit_usd: Usd::ZERO,
    }
}
