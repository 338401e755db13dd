//! The pure core of ModelHub: what an event does to an account.
//!
//! Architecture invariant: no runtime, no driver, no clock, no randomness and no logging. This crate's `Cargo.toml`
//! enforces it. The same log gives the same state, byte for byte, whatever the batch sizes (I3).

#![forbid(unsafe_code)]

mod account;
pub mod api_key;
mod apply;
mod chain;
mod document;
mod fact_tag;
mod fold;
mod invoice;
mod journal;
pub mod key_usage;
pub mod lease;
mod lots;
mod outcome;
mod payment;
pub mod period;
pub mod proration;
pub mod rating;
mod reason;
pub mod request_shares;
mod subscription;
mod transfer;

pub use account::{AccountState, Corrected, Key, Suspension};
pub use chain::ChainHash;
pub use document::{NotAnAccount, StateHash};
pub use fact_tag::FactTag;
pub use fold::{Entry, Fold, FoldedBatch, RecordRef};
pub use invoice::{InvoiceLines, IssuedInvoice};
pub use lots::Lot;
pub use outcome::{Outcome, Posting};
pub use payment::{Dispute, Payment};
pub use reason::Reason;
pub use subscription::{Subscription, TokenLot};
pub use transfer::{Amount, Code, Commodity, LedgerAccount, Name, Transfer};

#[cfg(test)]
mod tests;
