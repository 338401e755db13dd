//! Invoices: which are due, issuing them, reading them, and doing so every month by itself.

mod due;
mod issue;
mod monthly;
mod read;

pub use monthly::monthly;
