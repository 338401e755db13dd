//! Whole-system tests, on real engines: one binary, so that each engine starts once.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what goes wrong here fails the test")]

mod client;
mod compose;
mod conformance;
mod proxy;
mod readme;
mod scenario;
mod sdk;
mod system;
mod upstream;
