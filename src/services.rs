//! What each subcommand runs.

pub(crate) mod embedded;
pub(crate) mod gateway;
pub(crate) mod ledger;
pub(crate) mod projector;
pub(crate) mod shared;
