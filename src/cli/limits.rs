//! What a key may do, as options.

use clap::Args;
use schemas::event::KeyLimits;
use schemas::{Timestamp, Usd};

/// Limits of a key; without any it may do everything.
#[derive(Args, Clone, Debug)]
#[group(id = "Limits", multiple = true)]
pub(crate) struct Limits {
    /// Models that it may use, by their ids, comma-separated.
    #[arg(long, value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// From when on it may do nothing: 2027-01-01T00:00:00Z
    #[arg(long)]
    expires_at: Option<Timestamp>,
    /// The most that it may use in a day (UTC), in USD at list price.
    #[arg(long)]
    usd_per_day: Option<Usd>,
    /// The most that it may use in a calendar month (UTC), in USD at list price.
    #[arg(long)]
    usd_per_month: Option<Usd>,
}

impl From<Limits> for KeyLimits {
    fn from(limits: Limits) -> Self {
        let Limits { models, expires_at, usd_per_day, usd_per_month } = limits;
        Self { models: models.map(|models| models.into_iter().collect()), expires_at, usd_per_day, usd_per_month }
    }
}
