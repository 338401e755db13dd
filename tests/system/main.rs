//! Whole-system tests, on real engines: one binary, so that each engine starts once.

mod client;
mod conformance;
mod proxy;
mod scenario;
mod system;
mod upstream;
