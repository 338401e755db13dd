//! Opening the file only to look at it.

use std::path::Path;

use sqlx::query_as;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::{BUSY_TIMEOUT, MIGRATIONS, READERS, SqliteStore};
use crate::store::{StoreError, schema};

impl SqliteStore {
    /// Opens a file that is there, and changes nothing of it: what would write fails.
    ///
    /// # Errors
    /// The file can't be opened, or its tables are not this build's.
    pub async fn open_as_is(path: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::unavailable("open its file", format!("{}: {error}", path.display()));
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await.map_err(failed)?;
        let applied = query_as(schema::APPLIED).fetch_all(&readers).await;
        schema::check(&MIGRATIONS, applied.map_err(|error| schema::no_tables(&error))?)?;
        Ok(Self { writer: readers.clone(), readers })
    }
}
