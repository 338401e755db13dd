//! Invoices: an account's postings of a month, line by line.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::AdjustmentKind;
use crate::event::{DisputeOutcome, Period};
use crate::usage::TokenCounts;
use crate::{AccountId, DisputeId, EventId, Month, Offset, PaymentId, Position, Timestamp, Usd};

/// Which invoice is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvoiceQuery {
    /// Its number.
    pub number: u64,
    /// Whose it has to be; anybody's, where absent.
    #[serde(default)]
    pub account_id: Option<AccountId>,
}

/// Which invoices are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InvoicesQuery {
    /// Whose; everybody's, where absent.
    #[serde(default)]
    pub account_id: Option<AccountId>,
    /// Only those of higher numbers: the `next` of the page before.
    #[serde(default)]
    pub after: Option<u64>,
    /// The most that are wanted in one page.
    pub limit: u32,
}

/// One page of invoices, by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoices {
    /// The invoices.
    pub invoices: Vec<InvoiceHead>,
    /// What to ask for as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What an invoice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceHead {
    /// Its number: the operator's invoices are counted from 1, without gaps.
    pub number: u64,
    /// The event that issued it.
    pub event_id: EventId,
    /// Whose postings it is about.
    pub account_id: AccountId,
    /// The calendar month in UTC that it closes.
    pub month: Month,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The last record of the log before its range; absent in an account's first invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Offset>,
    /// The last record of its range, in the account's partition.
    pub through: Position,
}

/// An invoice with its content. Opening balance and all lines together are the closing balance, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    /// What it is about.
    #[serde(flatten)]
    pub head: InvoiceHead,
    /// The balance before its first posting: the closing balance of the account's invoice before it.
    pub opening_usd: Usd,
    /// The balance after its last posting.
    pub closing_usd: Usd,
    /// Usage by model, corrections by model, then everything else as it happened.
    pub lines: Vec<InvoiceLine>,
}

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// What it changed the balance by: charges are below zero.
    pub amount_usd: Usd,
    /// What it is for.
    #[serde(flatten)]
    pub item: InvoiceItem,
}

/// What a line of an invoice is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InvoiceItem {
    /// All usage of a model.
    Usage {
        /// The model.
        model: String,
        /// How many requests.
        requests: u64,
        /// Their tokens.
        tokens: TokenCounts,
        /// Those of them that the plan covered. The line's amount is the list price of all others.
        plan_tokens: u64,
    },
    /// All corrections of usage of a model.
    UsageCorrected {
        /// The model.
        model: String,
        /// How many corrections.
        corrections: u64,
    },
    /// A period of a plan that was opened: its price.
    PlanPeriod {
        /// When.
        time: Timestamp,
        /// The plan's id.
        plan: String,
        /// The period.
        period: Period,
        /// Plan tokens that it brought.
        granted_tokens: u64,
    },
    /// A period of a plan that was closed: the unused part of its price, which came back.
    PlanClosed {
        /// When.
        time: Timestamp,
        /// The plan's id.
        plan: String,
        /// The period, as it was sold.
        period: Period,
        /// Plan tokens that carry into the next period.
        carried_tokens: u64,
        /// Plan tokens that lapsed.
        lapsed_tokens: u64,
    },
    /// A payment.
    Payment {
        /// When.
        time: Timestamp,
        /// The payment.
        payment_id: PaymentId,
        /// Who took it.
        processor: String,
    },
    /// Money that was paid back.
    Refund {
        /// When.
        time: Timestamp,
        /// The payment.
        payment_id: PaymentId,
        /// Who paid back.
        processor: String,
        /// Why.
        reason: String,
    },
    /// Credit without a payment.
    Credit {
        /// When.
        time: Timestamp,
        /// Why.
        reason: String,
    },
    /// Credit that the operator gave or took, or whose time was over.
    Adjustment {
        /// When.
        time: Timestamp,
        /// What was done.
        kind: AdjustmentKind,
        /// Why.
        reason: String,
    },
    /// Credit held back for a dispute.
    Dispute {
        /// When.
        time: Timestamp,
        /// The dispute.
        dispute_id: DisputeId,
        /// The payment.
        payment_id: PaymentId,
        /// What is disputed. The line's amount is what of it was there to be held back.
        disputed_usd: Usd,
    },
    /// A dispute that was decided.
    DisputeClosed {
        /// When.
        time: Timestamp,
        /// The dispute.
        dispute_id: DisputeId,
        /// The payment.
        payment_id: PaymentId,
        /// How it ended.
        outcome: DisputeOutcome,
    },
}

/// In one line, for people.
impl fmt::Display for InvoiceItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { model, requests, tokens, plan_tokens } => write!(
                f,
                "{model}: {requests} requests, {} prompt tokens ({} cached), {} completion tokens, {plan_tokens} of them by plan",
                tokens.prompt, tokens.cached_prompt, tokens.completion
            ),
            Self::UsageCorrected { model, corrections } => write!(f, "{model}: {corrections} corrections of usage"),
            Self::PlanPeriod { plan, period, granted_tokens, .. } => {
                write!(f, "plan {plan}, {} to {}: {granted_tokens} tokens", period.start, period.end)
            }
            Self::PlanClosed { plan, period, carried_tokens, lapsed_tokens, .. } => write!(
                f,
                "unused part of plan {plan}, {} to {}: {carried_tokens} tokens carried over, {lapsed_tokens} lapsed",
                period.start, period.end
            ),
            Self::Payment { time, processor, payment_id } => {
                write!(f, "{time}: payment {payment_id} by {processor}")
            }
            Self::Refund { time, payment_id, processor, reason } => {
                write!(f, "{time}: refund of payment {payment_id} by {processor}: {reason}")
            }
            Self::Credit { time, reason } => write!(f, "{time}: credit: {reason}"),
            Self::Adjustment { time, kind, reason } => {
                let kind = match kind {
                    AdjustmentKind::Given => "credit given",
                    AdjustmentKind::Taken => "credit taken back",
                    AdjustmentKind::Expired => "credit expired",
                };
                write!(f, "{time}: {kind}: {reason}")
            }
            Self::Dispute { time, payment_id, disputed_usd, .. } => {
                write!(f, "{time}: payment {payment_id} is disputed for {disputed_usd} USD")
            }
            Self::DisputeClosed { time, payment_id, outcome, .. } => {
                write!(f, "{time}: dispute of payment {payment_id} {}", outcome.as_str())
            }
        }
    }
}

/// Issues what is due, of some accounts at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueInvoices {
    /// The last month that is invoiced; it has to be over.
    pub through: Month,
    /// Only accounts after this one, in the order of their ids: the `next` of the call before.
    #[serde(default)]
    pub after: Option<AccountId>,
}

/// What was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedInvoices {
    /// How many invoices.
    pub issued: u64,
    /// What to ask for as `after` to go on; absent where there are no more accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<AccountId>,
}
