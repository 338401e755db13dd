//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use schemas::{AccountId, Usd};

/// Metered access to language models: an OpenAI-compatible API with prepaid balances that are folds of an event log.
#[derive(Debug, Parser)]
#[command(name = "modelhub", version, arg_required_else_help = false)]
pub(crate) struct Cli {
    /// The configuration file; `modelhub.toml` of the current folder where there is one.
    #[arg(long, global = true, env = "MODELHUB_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to do; `serve` where nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in this process, on embedded stores in the data folder.
    Serve,
    /// Run a gateway: the public API. Distributed mode.
    Gateway,
    /// Run a ledger: balances, from the log. Distributed mode.
    Ledger,
    /// Run a projector: usage statistics, from the log. Distributed mode.
    Projector,
    /// Ask a service's health check whether it is ready; the exit status says. For container health checks.
    Ready {
        /// Its address, `/readyz` included.
        url: String,
    },
    /// Accounts, keys, credit: on the running system, else on the data folder.
    Admin(Admin),
}

#[derive(Debug, Args)]
pub(crate) struct Admin {
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Open an account for a verified e-mail; prints the account and its first key, which is shown only now.
    OpenAccount {
        /// The owner's e-mail. It never enters the log.
        #[arg(long)]
        email: String,
        /// The plan's id.
        #[arg(long, default_value = "free")]
        plan: String,
    },
    /// Issue a further key; prints it, only now.
    IssueKey {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// A name for its owner to know it by.
        #[arg(long, default_value = "key")]
        name: String,
    },
    /// Give credit.
    Grant {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// How much, in USD: 12.50
        #[arg(long)]
        amount: Usd,
        /// For the statement, and for whoever audits.
        #[arg(long)]
        reason: String,
        /// Makes a repeated command the same grant.
        #[arg(long)]
        idempotency_key: Option<String>,
    },
    /// Print an account's balance and its lots.
    Balance {
        /// The account.
        #[arg(long)]
        account: AccountId,
    },
    /// Print every posting of an account with the running balance.
    Statement {
        /// The account.
        #[arg(long)]
        account: AccountId,
    },
}
