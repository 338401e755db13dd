//! `invoice.issued`, and what may be said of the operator's own account, whose stream numbers invoices.

use schemas::event::InvoiceIssuedV1;
use schemas::{AccountId, Event, EventData, Usd};

use crate::{AccountState, IssuedInvoice, Posting, Reason};

/// Refuses customers' events on the operator's account, and invoices on customers' accounts.
pub(super) fn check_subject(event: &Event) -> Result<(), Reason> {
    let is_operator = event.subject == AccountId::OPERATOR;
    match &event.data {
        EventData::InvoiceIssued(_) if !is_operator => Err(Reason::NotTheOperator),
        EventData::InvoiceIssued(_) | EventData::AccountOpened(_) => Ok(()),
        _ if is_operator => Err(Reason::OperatorAccount),
        _ => Ok(()),
    }
}

/// The invoice gets the next number. Which postings it covers is in another partition, so what the event says of them is
/// taken as it is, but for what contradicts itself: the id that a range has to have is what makes two invoices of one
/// range one event.
pub(super) fn issued(state: &mut AccountState, event: &Event, data: &InvoiceIssuedV1) -> Result<Posting, Reason> {
    if data.account_id == AccountId::OPERATOR {
        return Err(Reason::OperatorAccount);
    }
    if data.after.is_some_and(|after| after >= data.through) {
        return Err(Reason::EmptyRange { after: data.after, through: data.through });
    }
    if event.id != data.event_id() {
        return Err(Reason::OtherInvoice { stated: event.id, derived: data.event_id() });
    }
    if event.time < data.month.end() {
        return Err(Reason::MonthNotOver(data.month));
    }
    state.invoices_issued += 1;
    let invoice = IssuedInvoice { number: state.invoices_issued, event: *data };
    Ok(Posting { transfers: vec![], amount: Usd::ZERO, balance: Usd::ZERO, detail: None, invoice: Some(invoice) })
}
