//! The gateway's ports, on services in the same process.

use std::sync::Arc;

use async_trait::async_trait;
use gateway::ports::{Ledger, LedgerError, StatsUnavailable, UsageStats};
use projector::UsageStore;
use schemas::AccountId;
use schemas::api::{
    AccountView, Balance, GrantCredit, Granted, Invoice, InvoiceQuery, Invoices, InvoicesQuery, IssueInvoices,
    IssueKey, IssuedInvoices, IssuedKey, KeyView, OpenAccount, OpenedAccount, Statement, StatementQuery, UsageQuery,
    UsageRow,
};
use schemas::event::KeyHash;

/// The ledger by function call.
pub(crate) struct InProcessLedger(pub(crate) Arc<ledger::Ledger>);

fn error(error: ledger::LedgerError) -> LedgerError {
    match error {
        ledger::LedgerError::Refused(refusal) => LedgerError::Refused(refusal),
        other => LedgerError::Unavailable(other.to_string()),
    }
}

#[async_trait]
impl Ledger for InProcessLedger {
    async fn find_key(&self, hash: KeyHash) -> Result<Option<KeyView>, LedgerError> {
        self.0.find_key(hash).await.map_err(error)
    }

    async fn account(&self, account: AccountId) -> Result<AccountView, LedgerError> {
        self.0.account(account).await.map_err(error)
    }

    async fn balance(&self, account: AccountId) -> Result<Balance, LedgerError> {
        self.0.balance(account).await.map_err(error)
    }

    async fn statement(&self, query: StatementQuery) -> Result<Statement, LedgerError> {
        self.0.statement(query).await.map_err(error)
    }

    async fn invoice(&self, query: InvoiceQuery) -> Result<Invoice, LedgerError> {
        self.0.invoice(query).await.map_err(error)
    }

    async fn invoices(&self, query: InvoicesQuery) -> Result<Invoices, LedgerError> {
        self.0.invoices(query).await.map_err(error)
    }

    async fn issue_invoices(&self, command: IssueInvoices) -> Result<IssuedInvoices, LedgerError> {
        self.0.issue_invoices(command).await.map_err(error)
    }

    async fn open_account(&self, command: OpenAccount) -> Result<OpenedAccount, LedgerError> {
        self.0.open_account(command).await.map_err(error)
    }

    async fn issue_key(&self, command: IssueKey) -> Result<IssuedKey, LedgerError> {
        self.0.issue_key(command).await.map_err(error)
    }

    async fn grant_credit(&self, command: GrantCredit) -> Result<Granted, LedgerError> {
        self.0.grant_credit(command).await.map_err(error)
    }
}

/// Usage statistics straight from a usage store.
pub(crate) struct StoreStats<S>(pub(crate) Arc<S>);

#[async_trait]
impl<S: UsageStore> UsageStats for StoreStats<S> {
    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StatsUnavailable> {
        self.0.stats(query).await.map_err(|error| StatsUnavailable(error.to_string()))
    }
}
