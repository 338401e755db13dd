//! Dropping all that the log can give again.

use sqlx::{AssertSqlSafe, SqlitePool, query, query_scalar};

use super::MIGRATIONS;
use crate::store::StoreError;
use crate::store::snapshot::KEPT;

/// Found in the schema rather than listed, so that a table of a later migration can't be forgotten.
const TABLES: &str = "\
    SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ($1, '_sqlx_migrations')
        AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";

pub(super) async fn reset(pool: &SqlitePool) -> Result<(), StoreError> {
    let failed = |error| StoreError::unavailable("drop its tables", error);
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let tables: Vec<String> = query_scalar(TABLES).bind(KEPT).fetch_all(&mut *transaction).await.map_err(failed)?;
    for table in tables {
        let drop = format!("DROP TABLE \"{}\"", table.replace('"', "\"\""));
        query(AssertSqlSafe(drop)).execute(&mut *transaction).await.map_err(failed)?;
    }
    let forget = query("DELETE FROM _sqlx_migrations WHERE description <> $1").bind(KEPT);
    forget.execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    // Who opens the store after a crash right here does the same.
    MIGRATIONS.run(pool).await.map_err(|error| StoreError::unavailable("make its tables anew", error))
}
