//! Messages that cross the ports: what a gateway or the command line asks of a ledger and of the usage store.
//!
//! On the private HTTP port they are JSON bodies; inside one process they are passed as they are.

mod account;
mod answer;
mod command;
mod entry;
mod invoice;
mod lease;
mod request_share;
mod statement;
mod stats;
mod subscription;

pub use account::{
    AccountStatus, AccountView, Balance, GrantCredit, Granted, IssueKey, IssuedKey, KeyUsed, KeyView, LotSource,
    LotView, OpenAccount, OpenedAccount, TokenLotView,
};
pub use answer::{AnswerEnd, AnswerEnded, ClaimAnswer, Claimed, EndAnswer, HoldAnswer, Sealed};
pub use command::{Adjustment, Command, CorrectedTokens, Done, KeyInfo, OutsideId, When};
pub use entry::{AdjustmentKind, ClosedPeriod, CorrectionEntry, EntryDetail, OpenedPeriod, PlanEntry, PlanEntryKind};
pub use invoice::{
    Invoice, InvoiceHead, InvoiceItem, InvoiceLine, InvoiceQuery, Invoices, InvoicesQuery, IssueInvoices,
    IssuedInvoices,
};
pub use lease::{CloseLeases, ClosedLeases, Funds, LeaseGrant, LeaseRequest};
pub use request_share::{Leaving, NotInTheWindow, RequestLimits, Share, ShareClaim, ShareGrant, ShareRequest};
pub use statement::{Statement, StatementEntry, StatementQuery};
pub use stats::{Bucket, GroupBy, PostedAmount, UsageQuery, UsageRow, UsageTotals};
pub use subscription::{AtPeriodEnd, Standing, SubscriptionView};

use serde::{Deserialize, Serialize};

/// Why a ledger refuses a question or a command. Anything else that goes wrong is unavailability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// No such account.
    #[error("no account `{account}`; list what exists with `modelhub admin balance`")]
    UnknownAccount {
        /// As it was asked for.
        account: String,
    },
    /// The e-mail already belongs to an account.
    #[error("the e-mail already belongs to account {account_id}; issue it another key with `modelhub admin issue-key`")]
    EmailTaken {
        /// Whose it is.
        account_id: crate::AccountId,
    },
    /// No such plan.
    #[error("no plan `{plan}` in the catalogue; it has {known}")]
    UnknownPlan {
        /// As it was asked for.
        plan: String,
        /// What there is.
        known: String,
    },
    /// The plan's number of keys is used up.
    #[error("the plan allows {limit} keys and {limit} are live; revoke one or upgrade the plan")]
    KeyLimit {
        /// Keys that the plan allows.
        limit: u32,
    },
    /// The account's credit does not pay for a plan.
    #[error("the plan costs {price_usd} USD and the account has {credit_usd} USD of credit; record a payment first")]
    CreditTooLow {
        /// What the plan costs.
        price_usd: crate::Usd,
        /// What there is.
        credit_usd: crate::Usd,
    },
    /// The account's credit would pay for a plan, if requests that run had not been granted so much of it.
    #[error(
        "the plan takes {due_usd} USD of the account's {credit_usd} USD of credit, and {reserved_usd} USD of that are \
         reserved for requests that run: try again when they have ended, or record a payment first"
    )]
    CreditReserved {
        /// What the plan's price takes of the credit.
        due_usd: crate::Usd,
        /// What there is.
        credit_usd: crate::Usd,
        /// What leases reserve of that.
        reserved_usd: crate::Usd,
    },
    /// No such invoice, or it is another account's.
    #[error("no invoice {number}; list what exists with `modelhub admin invoices list` or GET /api/invoices")]
    UnknownInvoice {
        /// As it was asked for.
        number: u64,
    },
    /// The lease is not there, or has been closed: another one can be opened.
    #[error("no open lease {lease_id} on account {account_id}; open another one")]
    UnknownLease {
        /// The lease.
        lease_id: crate::LeaseId,
        /// The account.
        account_id: crate::AccountId,
    },
    /// Another run of the gateway, which is later by its id, has said that this one is over. Two processes on copies of one
    /// spool folder, or an old copy of it that was put back.
    #[error(
        "run {run_id} of gateway {gateway_id} opens no leases: a later run has said that it is over. Is another process running \
         on a copy of its spool folder? Else give this one a spool folder of its own"
    )]
    RunIsOver {
        /// The gateway.
        gateway_id: crate::GatewayId,
        /// Its run.
        run_id: crate::RunId,
    },
    /// A message about a lease came after a later one. What the later one was told holds.
    #[error("message {seq} about lease {lease_id} came after message {last}")]
    StaleLease {
        /// The lease.
        lease_id: crate::LeaseId,
        /// This message.
        seq: u64,
        /// The last one that was heard.
        last: u64,
    },
    /// The command makes no sense as it is.
    #[error("{field}: {detail}")]
    Invalid {
        /// Which part of the command.
        field: String,
        /// What is wrong with it and what would be right.
        detail: String,
    },
}
