//! How applying an event ends (I3): never in a panic, never in an error.

use schemas::Usd;
use schemas::api::EntryDetail;

use crate::{IssuedInvoice, Reason, Transfer};

/// How applying one event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is posted.
    Applied(Posting),
    /// Its id is posted already; nothing changed.
    Duplicate,
    /// It can't post; nothing changed, and the record is kept for the operator to look at.
    Quarantined(Reason),
}

/// What an applied event did to its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The money and the plan tokens it moved; none for events about keys and the like.
    pub transfers: Vec<Transfer>,
    /// What the balance changed by.
    pub amount: Usd,
    /// The balance after it.
    pub balance: Usd,
    /// The statement's entry; none where the event concerns neither money nor plan tokens.
    pub detail: Option<EntryDetail>,
    /// The invoice that it issued, with its number.
    pub invoice: Option<IssuedInvoice>,
}
