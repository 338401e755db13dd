//! Opening the file only to look at it.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::{BUSY_TIMEOUT, CONNECTIONS, MIGRATIONS, SqliteStore};
use crate::StoreError;

const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";

impl SqliteStore {
    /// Opens a file that is there, and changes nothing of it: what would write fails.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where the file can't be opened, or its tables are not this build's.
    pub async fn open_as_is(path: &Path) -> Result<Self, StoreError> {
        let name = path.display().to_string();
        let failed = |error| StoreError::Unavailable(format!("the usage store {name} could not be opened: {error}"));
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options);
        let pool = pool.await.map_err(failed)?;
        let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(APPLIED).fetch_all(&pool).await.map_err(failed)?;
        let own: Vec<_> = MIGRATIONS.iter().map(|own| (own.version, own.checksum.to_vec())).collect();
        if applied != own {
            return Err(StoreError::Unavailable(format!(
                "another build made the tables of the usage store {name}: start this build once, which brings older ones \
                 up to date, or use the newer build"
            )));
        }
        Ok(Self { pool, name })
    }
}
