//! What is measured, and how: see README.md.

#![forbid(unsafe_code)]

mod cpu;
mod events;
mod fill;
mod gateway;
mod ledger;
mod plain;
mod replay;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures parts of `ModelHub` on engines that it starts itself. Run it with `--release`, on a quiet machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From a filled log (Kafka) to committed balances (`PostgreSQL`).
    Ledger(ledger::Options),
    /// The audit's replay of a log (Kafka), without a database.
    Replay(replay::Options),
    /// One replay in a process of its own; `replay` starts these.
    #[command(hide = true)]
    ReplayOnce(replay::Once),
    /// What a request costs the gateway, beside other proxies.
    Gateway(gateway::Options),
    /// The upstream of all proxies; `gateway` starts these three.
    #[command(hide = true)]
    GatewayUpstream(gateway::upstream::Options),
    /// The clients.
    #[command(hide = true)]
    GatewayLoad(gateway::load::Options),
    /// A proxy on the gateway's own parts that bills nothing.
    #[command(hide = true)]
    GatewayPlain(gateway::plain::Options),
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let outcome = runtime.block_on(async {
        match Arguments::parse().command {
            Command::Ledger(options) => ledger::run(&options).await,
            Command::Replay(options) => replay::run(&options).await,
            Command::ReplayOnce(once) => replay::once(&once).await,
            Command::Gateway(options) => gateway::run(&options).await,
            Command::GatewayUpstream(options) => gateway::upstream::run(&options).await,
            Command::GatewayLoad(options) => gateway::load::run(options).await,
            Command::GatewayPlain(options) => gateway::plain::run(&options).await,
        }
    });
    outcome.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // Nobody is left to tell where standard error is gone.
    let _ = table::note(&format!("error: {error:#}"));
    ExitCode::FAILURE
}
