//! The pure core of ModelHub: what an event does to an account.
//!
//! Architecture invariant: no runtime, no driver, no clock, no randomness and no logging. This crate's `Cargo.toml`
//! enforces it. The same log gives the same state, byte for byte, whatever the batch sizes (I3).

#![forbid(unsafe_code)]

mod account;
pub mod api_key;
mod apply;
mod chain;
mod fold;
mod lots;
mod outcome;
pub mod rating;
mod transfer;

pub use account::{AccountState, Key};
pub use chain::ChainHash;
pub use fold::{Entry, Fold, FoldedBatch, RecordRef};
pub use lots::Lot;
pub use outcome::{Outcome, Posting, Reason};
pub use transfer::{Code, Commodity, LedgerAccount, Transfer};
