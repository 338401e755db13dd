//! The gateway's ports, on services in the same process.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use eventlog::Batch;
use gateway::ledger_http::HttpLedger;
use gateway::ports::{Ledger, LedgerError, StatsUnavailable, UsageStats};
use projector::{Postings, PostingsUnavailable, UsageStore};
use schemas::api::{
    AccountView, AnswerEnded, Balance, ClaimAnswer, Claimed, CloseLeases, ClosedLeases, Command, Done, EndAnswer,
    GrantCredit, Granted, HoldAnswer, Invoice, InvoiceQuery, Invoices, InvoicesQuery, IssueInvoices, IssueKey,
    IssuedInvoices, IssuedKey, KeyInfo, KeyView, LeaseGrant, LeaseRequest, OpenAccount, OpenedAccount, PostedAmount,
    Statement, StatementQuery, UsageQuery, UsageRow,
};
use schemas::event::KeyHash;
use schemas::{AccountId, Offset, Position, Usd};

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
    async fn ready(&self) -> Result<(), LedgerError> {
        self.0.ready().await.map_err(error)
    }

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

    async fn keys(&self, account: AccountId) -> Result<Vec<KeyInfo>, LedgerError> {
        self.0.keys(account).await.map_err(error)
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeaseGrant, LedgerError> {
        self.0.lease(request).await.map_err(error)
    }

    async fn close_leases(&self, close: CloseLeases) -> Result<ClosedLeases, LedgerError> {
        self.0.close_leases(close).await.map_err(error)
    }

    async fn execute(&self, account: AccountId, command: Command) -> Result<Done, LedgerError> {
        self.0.execute(account, command).await.map_err(error)
    }

    async fn claim_answer(&self, claim: ClaimAnswer) -> Result<Claimed, LedgerError> {
        self.0.claim_answer(claim).await.map_err(error)
    }

    async fn hold_answer(&self, hold: HoldAnswer) -> Result<bool, LedgerError> {
        self.0.hold_answer(hold).await.map_err(error)
    }

    async fn end_answer(&self, end: EndAnswer) -> Result<AnswerEnded, LedgerError> {
        self.0.end_answer(end).await.map_err(error)
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

/// The ledger's verdicts, for a projector in the same process.
pub(crate) struct InProcessPostings(pub(crate) Arc<ledger::Ledger>);

/// The same over HTTP.
pub(crate) struct HttpPostings(pub(crate) HttpLedger);

/// The same from a ledger's store that holds them already, for a rebuild.
pub(crate) struct StoredPostings(pub(crate) Arc<dyn ledger::Store>);

fn by_offset(amounts: Vec<PostedAmount>) -> BTreeMap<Offset, Usd> {
    amounts.into_iter().map(|posted| (posted.offset, posted.amount_usd)).collect()
}

fn unavailable(error: impl std::fmt::Display) -> PostingsUnavailable {
    PostingsUnavailable(format!("what the ledger charged: {error}"))
}

#[async_trait]
impl Postings for InProcessPostings {
    async fn amounts(&self, batch: &Batch) -> Result<BTreeMap<Offset, Usd>, PostingsUnavailable> {
        self.0.amounts(batch.partition, batch.from, batch.next).await.map(by_offset).map_err(unavailable)
    }
}

#[async_trait]
impl Postings for HttpPostings {
    async fn amounts(&self, batch: &Batch) -> Result<BTreeMap<Offset, Usd>, PostingsUnavailable> {
        self.0.amounts(batch.partition, batch.from, batch.next).await.map(by_offset).map_err(unavailable)
    }
}

#[async_trait]
impl Postings for StoredPostings {
    async fn amounts(&self, batch: &Batch) -> Result<BTreeMap<Offset, Usd>, PostingsUnavailable> {
        let amounts = self.0.amounts(batch.partition, batch.from, batch.next).await.map_err(unavailable)?;
        let end = Position { partition: batch.partition, offset: batch.next };
        amounts
            .ok_or_else(|| unavailable(format_args!("its store is not at {end} yet: start the ledger, or wait for it")))
    }
}
