//! Connecting only to look.

use sqlx::query_as;

use super::{MIGRATIONS, PostgresStore};
use crate::store::{StoreError, schema};

impl PostgresStore {
    /// Connects as [`open`](Self::open), and changes nothing of the tables.
    ///
    /// # Errors
    /// The server can't be reached or refuses, or its tables are not this build's.
    pub async fn open_as_is(url: &str) -> Result<Self, StoreError> {
        let pool = Self::connect(url).await?;
        let applied = query_as(schema::APPLIED).fetch_all(&pool).await;
        schema::check(&MIGRATIONS, applied.map_err(|error| schema::no_tables(&error))?)?;
        Ok(Self { pool })
    }
}
