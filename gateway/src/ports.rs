//! What the gateway needs of others. The adapters are wired in the binary: no service crate imports another.

use async_trait::async_trait;
use schemas::AccountId;
use schemas::api::{
    AccountView, AnswerEnded, Balance, ClaimAnswer, Claimed, CloseLeases, ClosedLeases, Command, Done, EndAnswer,
    GrantCredit, Granted, HoldAnswer, Invoice, InvoiceQuery, Invoices, InvoicesQuery, IssueInvoices, IssueKey,
    IssuedInvoices, IssuedKey, KeyInfo, KeyView, LeaseGrant, LeaseRequest, OpenAccount, OpenedAccount, Refusal,
    Statement, StatementQuery, UsageQuery, UsageRow,
};
use schemas::event::KeyHash;
use thiserror::Error;

/// Why a ledger did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum LedgerError {
    /// It refused, and whoever asked can mend it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It can't be reached, or can't reach its own store or log.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
}

/// The ledger: in the same process, or over HTTP on its private port.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Whether it could do its work now.
    async fn ready(&self) -> Result<(), LedgerError>;
    /// The live key with this hash, and its account.
    async fn find_key(&self, hash: KeyHash) -> Result<Option<KeyView>, LedgerError>;
    /// An account as of now.
    async fn account(&self, account: AccountId) -> Result<AccountView, LedgerError>;
    /// An account's balance and lots.
    async fn balance(&self, account: AccountId) -> Result<Balance, LedgerError>;
    /// A page of an account's statement.
    async fn statement(&self, query: StatementQuery) -> Result<Statement, LedgerError>;
    /// An invoice with its content.
    async fn invoice(&self, query: InvoiceQuery) -> Result<Invoice, LedgerError>;
    /// A page of invoices.
    async fn invoices(&self, query: InvoicesQuery) -> Result<Invoices, LedgerError>;
    /// Issues what is due of a page of accounts; returns when the ledger has applied it.
    async fn issue_invoices(&self, command: IssueInvoices) -> Result<IssuedInvoices, LedgerError>;
    /// Opens an account; returns when the ledger has applied it.
    async fn open_account(&self, command: OpenAccount) -> Result<OpenedAccount, LedgerError>;
    /// Issues a key; returns when the ledger has applied it.
    async fn issue_key(&self, command: IssueKey) -> Result<IssuedKey, LedgerError>;
    /// Gives credit; returns when the ledger has applied it.
    async fn grant_credit(&self, command: GrantCredit) -> Result<Granted, LedgerError>;
    /// An account's live keys.
    async fn keys(&self, account: AccountId) -> Result<Vec<KeyInfo>, LedgerError>;
    /// Carries out a message about this gateway's lease on an account.
    async fn lease(&self, request: LeaseRequest) -> Result<LeaseGrant, LedgerError>;
    /// Ends the leases of this gateway's earlier runs.
    async fn close_leases(&self, close: CloseLeases) -> Result<ClosedLeases, LedgerError>;
    /// Carries out a command on an account; returns when the ledger has applied it.
    async fn execute(&self, account: AccountId, command: Command) -> Result<Done, LedgerError>;
    /// Claims an answer that is kept for a repeat, or says what there is. Of concurrent claims exactly one wins.
    async fn claim_answer(&self, claim: ClaimAnswer) -> Result<Claimed, LedgerError>;
    /// Holds on to a claim; `false` where somebody else has it.
    async fn hold_answer(&self, hold: HoldAnswer) -> Result<bool, LedgerError>;
    /// Ends a claim with what became of its request.
    async fn end_answer(&self, end: EndAnswer) -> Result<AnswerEnded, LedgerError>;
}

/// The usage store can't be asked just now.
#[derive(Debug, Error)]
#[error("the usage store is not available: {0}")]
pub struct StatsUnavailable(pub String);

/// The projector's answers.
#[async_trait]
pub trait UsageStats: Send + Sync + 'static {
    /// Usage by bucket and group, in that order.
    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StatsUnavailable>;
}
