//! `modelhub`: one executable, two ways to run it. The services are library crates; this package wires them.

#![forbid(unsafe_code)]

mod adapters;
mod admin;
mod audit;
mod cli;
mod config;
mod data_dir;
mod demo_account;
mod export;
mod logging;
mod metrics;
mod outside;
mod print;
mod ready;
mod rebuild;
mod run_id;
mod services;
mod shutdown;
mod stores;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use cli::{Cli, Command};

/// A request makes some hundred small allocations, which this one makes cheaper than the system's (ADR 28).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The one place where an error that ends the process is told; nobody is left to tell if that fails.
            let _ = writeln!(std::io::stderr(), "modelhub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: Cli) -> Result<()> {
    if let Some(Command::Ready { url }) = &cli.command {
        return ready::check(url).await;
    }
    let loaded = config::load(cli.config.as_deref())?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Admin(admin) => admin::run(loaded, admin).await,
        Command::Audit(command) => audit::run(loaded, command).await,
        Command::Rebuild { what } => rebuild::run(loaded, what).await,
        Command::Export(export) => export::run(loaded, export).await,
        service => {
            let _lines = logging::start();
            match service {
                Command::Gateway => services::gateway::run(loaded).await,
                Command::Ledger => services::ledger::run(loaded).await,
                Command::Projector => services::projector::run(loaded).await,
                _ => services::embedded::run(loaded).await,
            }
        }
    }
}
