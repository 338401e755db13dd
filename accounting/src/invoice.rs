//! Invoices: the number that an issued one got, and the lines that an account's postings add up to. Nothing is rounded: all
//! lines together are what the postings changed the balance by, to the last digit.

use std::collections::BTreeMap;

use schemas::api::{EntryDetail, InvoiceItem, InvoiceLine, PlanEntry, StatementEntry};
use schemas::event::InvoiceIssuedV1;
use schemas::usage::TokenCounts;
use schemas::{Timestamp, Usd};

/// An invoice with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuedInvoice {
    /// Its place among the operator's, from 1.
    pub number: u64,
    /// What it covers.
    pub event: InvoiceIssuedV1,
}

/// Adds up an account's entries, in the order of the log.
#[derive(Clone, Debug, Default)]
pub struct InvoiceLines {
    usage: BTreeMap<String, UsageSum>,
    corrections: BTreeMap<String, CorrectionSum>,
    others: Vec<InvoiceLine>,
    total: Usd,
}

#[derive(Clone, Copy, Debug, Default)]
struct UsageSum {
    requests: u64,
    tokens: TokenCounts,
    plan_tokens: u64,
    amount: Usd,
}

#[derive(Clone, Copy, Debug, Default)]
struct CorrectionSum {
    corrections: u64,
    amount: Usd,
}

impl InvoiceLines {
    /// Adds one entry; `None` where a sum is beyond what is kept exactly.
    #[must_use = "a sum that is not exact is no sum"]
    pub fn add(&mut self, entry: &StatementEntry) -> Option<()> {
        let (amount, time) = (entry.amount_usd, entry.time);
        self.total = self.total.checked_add(amount)?;
        let item = match &entry.detail {
            EntryDetail::Usage { model, tokens, plan_tokens, .. } => {
                return sum_of(&mut self.usage, model).add(tokens, *plan_tokens, amount);
            }
            EntryDetail::Correction(correction) => {
                let sum = sum_of(&mut self.corrections, &correction.model);
                sum.corrections = sum.corrections.checked_add(1)?;
                sum.amount = sum.amount.checked_add(amount)?;
                return Some(());
            }
            EntryDetail::Plan(plan) => {
                self.others.extend(of_plan(plan, time));
                return Some(());
            }
            EntryDetail::Payment { payment_id, processor, .. } => {
                InvoiceItem::Payment { time, payment_id: *payment_id, processor: processor.clone() }
            }
            EntryDetail::Refund { payment_id, processor, reason } => InvoiceItem::Refund {
                time,
                payment_id: *payment_id,
                processor: processor.clone(),
                reason: reason.clone(),
            },
            EntryDetail::Credit { reason, .. } => InvoiceItem::Credit { time, reason: reason.clone() },
            EntryDetail::Adjustment { kind, reason, .. } => {
                InvoiceItem::Adjustment { time, kind: *kind, reason: reason.clone() }
            }
            EntryDetail::Dispute { dispute_id, payment_id, disputed_usd } => InvoiceItem::Dispute {
                time,
                dispute_id: *dispute_id,
                payment_id: *payment_id,
                disputed_usd: *disputed_usd,
            },
            EntryDetail::DisputeClosed { dispute_id, payment_id, outcome } => {
                InvoiceItem::DisputeClosed { time, dispute_id: *dispute_id, payment_id: *payment_id, outcome: *outcome }
            }
        };
        self.others.push(InvoiceLine { amount_usd: amount, item });
        Some(())
    }

    /// What all entries together changed the balance by.
    pub fn total(&self) -> Usd {
        self.total
    }

    /// Usage by model, corrections by model, then everything else as it happened.
    pub fn into_lines(self) -> Vec<InvoiceLine> {
        let usage = self.usage.into_iter().map(|(model, sum)| {
            let UsageSum { requests, tokens, plan_tokens, amount } = sum;
            InvoiceLine { amount_usd: amount, item: InvoiceItem::Usage { model, requests, tokens, plan_tokens } }
        });
        let corrections = self.corrections.into_iter().map(|(model, CorrectionSum { corrections, amount })| {
            InvoiceLine { amount_usd: amount, item: InvoiceItem::UsageCorrected { model, corrections } }
        });
        usage.chain(corrections).chain(self.others).collect()
    }
}

impl UsageSum {
    fn add(&mut self, tokens: &TokenCounts, plan_tokens: u64, amount: Usd) -> Option<()> {
        *self = Self {
            requests: self.requests.checked_add(1)?,
            tokens: TokenCounts {
                prompt: self.tokens.prompt.checked_add(tokens.prompt)?,
                cached_prompt: self.tokens.cached_prompt.checked_add(tokens.cached_prompt)?,
                completion: self.tokens.completion.checked_add(tokens.completion)?,
                reasoning: self.tokens.reasoning.checked_add(tokens.reasoning)?,
            },
            plan_tokens: self.plan_tokens.checked_add(plan_tokens)?,
            amount: self.amount.checked_add(amount)?,
        };
        Some(())
    }
}

/// A model's sum.
fn sum_of<'a, S: Default>(sums: &'a mut BTreeMap<String, S>, model: &str) -> &'a mut S {
    sums.entry(model.to_owned()).or_default()
}

/// What a change of a period came to: what came back for the one that was closed, the price of the one that was opened.
fn of_plan(entry: &PlanEntry, time: Timestamp) -> impl Iterator<Item = InvoiceLine> {
    let closed = entry.closed.as_ref().map(|closed| InvoiceLine {
        amount_usd: closed.unused_usd,
        item: InvoiceItem::PlanClosed {
            time,
            plan: closed.plan.clone(),
            period: closed.period,
            carried_tokens: closed.carried_tokens,
            lapsed_tokens: closed.lapsed_tokens,
        },
    });
    let opened = entry.opened.as_ref().map(|opened| InvoiceLine {
        amount_usd: opened.price_usd.negated(),
        item: InvoiceItem::PlanPeriod {
            time,
            plan: opened.plan.clone(),
            period: opened.period,
            granted_tokens: opened.granted_tokens,
        },
    });
    closed.into_iter().chain(opened)
}
