//! Reading: an invoice says what the postings of its range say, so nothing of it is stored.

use accounting::InvoiceLines;
use schemas::api::{Invoice, InvoiceQuery, Invoices, InvoicesQuery, Refusal};
use schemas::{AccountId, Offset, Usd};

use crate::service::questions::{beyond, check_limit};
use crate::service::{Ledger, LedgerError};
use crate::store::InvoiceRow;

/// Entries read at once.
const PAGE: u32 = 5_000;

impl Ledger {
    /// An invoice with its content.
    pub async fn invoice(&self, query: InvoiceQuery) -> Result<Invoice, LedgerError> {
        let InvoiceQuery { number, account_id } = query;
        let found = self.parts.store.invoice(number).await?;
        let head = found.as_ref().map(InvoiceRow::head);
        let head = head.filter(|head| account_id.is_none_or(|account| account == head.account_id));
        let head = head.ok_or(Refusal::UnknownInvoice { number })?;
        // The operator's stream may be ahead of the account's: after a rebuild, say.
        let through = head.through;
        if self.parts.store.head(through.partition).await?.next <= through.offset {
            let detail = format!("invoice {number} covers {through}, which is not applied yet; try again");
            return Err(LedgerError::Unavailable(detail));
        }
        let opening_usd = match head.after {
            Some(after) => self.parts.store.balance_at(head.account_id, after).await?,
            None => Usd::ZERO,
        };
        let lines = self.lines(head.account_id, head.after, through.offset).await?;
        let closing_usd = opening_usd.checked_add(lines.total()).ok_or_else(beyond)?;
        let held = self.parts.store.balance_at(head.account_id, through.offset).await?;
        if held != closing_usd {
            return Err(LedgerError::Unavailable(format!(
                "invoice {number} does not add up: its lines lead to {closing_usd} USD, the postings to {held} USD; run \
                 `modelhub audit`"
            )));
        }
        Ok(Invoice { head, opening_usd, closing_usd, lines: lines.into_lines() })
    }

    /// A page of invoices.
    pub async fn invoices(&self, query: InvoicesQuery) -> Result<Invoices, LedgerError> {
        check_limit(query.limit)?;
        // One more than asked for tells whether there is a next page.
        let mut rows = self.parts.store.invoices(&InvoicesQuery { limit: query.limit + 1, ..query }).await?;
        let more = rows.len() > query.limit as usize;
        rows.truncate(query.limit as usize);
        let next = rows.last().map(|last| last.invoice.number).filter(|_| more);
        Ok(Invoices { invoices: rows.iter().map(InvoiceRow::head).collect(), next })
    }

    async fn lines(
        &self,
        account: AccountId,
        mut after: Option<Offset>,
        through: Offset,
    ) -> Result<InvoiceLines, LedgerError> {
        let mut lines = InvoiceLines::default();
        loop {
            let page = self.parts.store.entries(account, after, PAGE).await?;
            for entry in page.iter().take_while(|entry| entry.offset <= through) {
                lines.add(entry).ok_or_else(beyond)?;
            }
            match page.last().map(|last| last.offset) {
                Some(last) if last < through && page.len() >= PAGE as usize => after = Some(last),
                _ => return Ok(lines),
            }
        }
    }
}
