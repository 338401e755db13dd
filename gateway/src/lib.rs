//! The HTTP edge: authenticate → limit → hold → proxy → settle. Handlers are thin, the ledger and the usage store are
//! ports, and every admitted request ends in exactly one usage event.
//!
//! Architecture invariant: no other service crate is imported. What the gateway needs of them is in [`ports`].

#![forbid(unsafe_code)]

mod accounts;
mod app;
mod auth;
mod body;
mod completions;
mod context;
pub mod demo;
mod error;
#[cfg(test)]
mod fixtures;
mod idempotency;
mod invoices;
mod json_edit;
mod key_limits;
mod lease;
pub mod ledger_http;
mod leftovers;
mod limits;
mod meter;
mod metrics;
mod models;
pub mod ports;
mod rate_headers;
mod request_log;
pub mod server;
mod sse;
mod statement;
mod tally;
mod timing;
mod tokens;
mod upstream;
mod usage;
mod usage_log;

pub use accounts::{Identity, Keeper};
pub use app::{Gateway, Parts, build};
pub use context::Context;
pub use leftovers::Leftovers;
pub use metrics::Refresh;
pub use request_log::REQUEST_LINES;
pub use upstream::{Upstream, UpstreamError, Upstreams};
pub use usage_log::UsageLog;
