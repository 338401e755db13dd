//! Dropping all that the log can give again.

use schemas::Usd;
use sqlx::{AssertSqlSafe, PgPool, query};

use super::MIGRATIONS;
use crate::store::StoreError;
use crate::store::leases::{FORGET_POSTED, KEEP_FLOORS, REFILL};
use crate::store::read::Money;
use crate::store::snapshot::{KEPT, PROJECTED};

pub(super) async fn reset(pool: &PgPool) -> Result<(), StoreError> {
    let failed = |error| StoreError::unavailable("drop its tables", error);
    let mut transaction = pool.begin().await.map_err(failed)?;
    query(KEEP_FLOORS).execute(&mut *transaction).await.map_err(failed)?;
    query(FORGET_POSTED).bind(Money(Usd::ZERO)).execute(&mut *transaction).await.map_err(failed)?;
    query(REFILL).bind(Money(Usd::ZERO)).execute(&mut *transaction).await.map_err(failed)?;
    for table in PROJECTED {
        query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}")))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    let [answers, contacts, leases] = KEPT;
    let forget = query("DELETE FROM _sqlx_migrations WHERE description NOT IN ($1, $2, $3)");
    let forget = forget.bind(answers).bind(contacts).bind(leases);
    forget.execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    // Who opens the store after a crash right here does the same.
    MIGRATIONS.run(pool).await.map_err(|error| StoreError::unavailable("make its tables anew", error))
}
