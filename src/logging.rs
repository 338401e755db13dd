//! Logs go to standard error; `RUST_LOG` chooses what is logged, and `MODELHUB_LOG=json` how.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged where nothing is said: everything of note, and of sqlx, which notes every slow statement, only faults.
const DEFAULT: &str = "info,sqlx=warn";

/// Starts logging for this process.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::env::var("MODELHUB_LOG").is_ok_and(|form| form == "json") {
        registry.with(lines.json()).init();
    } else {
        registry.with(lines.with_ansi(false)).init();
    }
}
