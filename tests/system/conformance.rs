//! One suite per port, run against both of its adapters.

mod eventlog;
mod ledger_store;
mod usage_store;
