//! The command line.

mod limits;
mod on_account;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::audit::At;
use schemas::{AccountId, GatewayId, Month, Position, Timestamp, Usd};

use self::limits::Limits;

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
    /// Accounts, keys, credit, payments, subscriptions: on the running system, else on the data folder.
    Admin(Admin),
    /// Replay the log without the database, and compare: every balance, lot, key, posting, transfer, chain, usage total.
    /// Prints a table, names the first event that differs, and fails where anything does.
    Audit(Audit),
    /// Drop a store and fold the log into it again. Contacts, which the log does not hold, stay.
    Rebuild {
        /// Which one.
        what: Rebuild,
    },
    /// Print the log as JSON lines: each record as it is, with its partition and offset.
    Export(Export),
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// As of a past position of the log (`0:1234`, several with commas between) or time (`2026-11-01T00:00:00Z`); prints
    /// the accounts as they were then.
    #[arg(long, value_name = "POSITION_OR_TIME")]
    pub(crate) at: Option<At>,
    /// Only replay; open no database.
    #[arg(long)]
    pub(crate) replay_only: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A store that the log can give again.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Rebuild {
    /// Balances, lots, keys, postings.
    Ledger,
    /// Usage statistics.
    Usage,
}

impl Rebuild {
    /// The subcommand of the service that writes the store.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Usage => "projector",
        }
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Usage => "usage",
        }
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Export {
    /// Only events of this account.
    #[arg(long)]
    pub(crate) account: Option<AccountId>,
    /// Only events that happened at this time or later.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// Only events that happened before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
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
        /// What it may do.
        #[command(flatten)]
        limits: Limits,
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
    /// List an account's live keys.
    ListKeys {
        /// The account.
        #[arg(long)]
        account: AccountId,
    },
    #[command(flatten)]
    OnAccount(on_account::OnAccount),
    /// Print an account's balance and its lots.
    Balance {
        /// The account.
        #[arg(long)]
        account: AccountId,
    },
    /// Print every posting of an account with the running balance. On a data folder that no process uses, this and every other
    /// command on accounts first brings the stores up to date: tables of an older build are migrated, the log is folded.
    Statement {
        /// The account.
        #[arg(long)]
        account: AccountId,
        /// As of a past position of the log (`0:1234`) or time (`2026-11-01T00:00:00Z`).
        #[arg(long, value_name = "POSITION_OR_TIME")]
        at: Option<At>,
    },
    /// Monthly invoices: issue, list, show.
    Invoices {
        #[command(subcommand)]
        command: InvoicesCommand,
    },
    /// Gateways that may spend by themselves: their leases, what those reserve, and when each was last heard of.
    Gateways {
        #[command(subcommand)]
        command: Option<GatewaysCommand>,
    },
    /// Records that can't post: why, and another try.
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum InvoicesCommand {
    /// Issue what is due, up to the end of a month; repeated, it issues nothing twice. A running ledger does it by itself.
    Issue {
        /// The last month that is invoiced, in UTC: 2026-10
        #[arg(long)]
        month: Month,
    },
    /// List invoices by number.
    List {
        /// Only of this account.
        #[arg(long)]
        account: Option<AccountId>,
    },
    /// Print one with its lines.
    Show {
        /// Its number.
        number: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GatewaysCommand {
    /// End all leases of a gateway whose machine never comes back, nor its disk. Stop it first, where it still runs. One that
    /// is started again on its disk needs no such command, and should not have it: whatever still waits in its spool would
    /// then post without a reservation, and could take an account below zero.
    Abandon {
        /// The gateway's id.
        gateway: GatewayId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List them, oldest first, with where a later try posted.
    List,
    /// Print one, with its record.
    Show {
        /// Its place: partition:offset.
        position: Position,
    },
    /// Append the same event once more, for a newer build that can post it, or an account that is there now.
    Retry {
        /// Its place: partition:offset.
        position: Position,
    },
}
