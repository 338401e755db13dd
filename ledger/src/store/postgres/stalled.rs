//! A ledger that stands still in the middle of a `COPY`.
//!
//! To the server that is a statement under way, whatever its client does: no timeout of a statement or a transaction ends it
//! while it waits for more rows, and it holds the row of its partition's position. So whoever waits for that gives up after a
//! while, and ends it.

use sqlx::{PgPool, query};
use tracing::{debug, warn};

use super::APPLICATION;

/// How long a commit waits for another one's row.
pub(super) const WAIT: &str = "SET LOCAL lock_timeout = '5s'";

/// A ledger sends its rows without a pause, so a copy that still waits for some after this long is nobody's any more. Were it
/// only slow, it would be offered the same batch again.
const END: &str = "\
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = $1 AND pid <> pg_backend_pid()
        AND state = 'active' AND query LIKE 'COPY%' AND wait_event = 'ClientRead'
        AND query_start < clock_timestamp() - interval '5 seconds'";

/// Ends the copies of ledgers that stand still. What they did is rolled back.
pub(super) async fn end(pool: &PgPool) {
    match query(END).bind(APPLICATION).fetch_all(pool).await {
        Ok(ended) if ended.is_empty() => {}
        Ok(ended) => warn!(copies = ended.len(), "ended copies whose ledger stands still"),
        // The commit failed; why it did is what its caller tells.
        Err(error) => debug!(%error, "can't look for copies whose ledger stands still"),
    }
}
