//! Learning of what other processes append.

use std::time::Duration;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::watch;
use tracing::debug;

/// How long another process's append may go unnoticed.
const POLL: Duration = Duration::from_millis(250);

/// Wakes the readers whenever somebody else has changed the file. Never ends.
pub(super) async fn watch(options: &SqliteConnectOptions, appended: &watch::Sender<()>) {
    loop {
        if let Err(error) = watch_until_it_fails(options, appended).await {
            debug!(%error, "the log's file can't be watched at the moment");
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn watch_until_it_fails(options: &SqliteConnectOptions, appended: &watch::Sender<()>) -> Result<(), sqlx::Error> {
    let mut conn = SqliteConnection::connect_with(options).await?;
    let mut known = None;
    loop {
        let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut conn).await?;
        if known.replace(version) != Some(version) {
            appended.send_replace(());
        }
        tokio::time::sleep(POLL).await;
    }
}
