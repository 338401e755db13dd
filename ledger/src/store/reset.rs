//! Dropping all that the log can give again, the same for both adapters.

/// The tables of leases, in the order in which they can be dropped.
pub(super) const LEASE_TABLES: [&str; 3] = ["leases", "funds", "lease_floors"];

/// `reset` on a pool of either database. How a transaction that writes begins, and what tables there are, are each one's own.
macro_rules! reset {
    ($pool:ty, $begin:literal, $tables:literal) => {
        pub(super) async fn reset(pool: &$pool) -> Result<(), StoreError> {
            let failed = |error| StoreError::unavailable("drop its tables", error);
            let mut transaction = pool.begin_with($begin).await.map_err(failed)?;
            let tables: Vec<String> = query_scalar($tables).fetch_all(&mut *transaction).await.map_err(failed)?;
            let is_there = |table: &str| tables.iter().any(|there| there == table);
            let mut drops: Vec<&str> = PROJECTED.to_vec();
            // Somebody has dropped what only this database knew: all that is left to do is to make the tables anew.
            let leases_are_lost = !LEASE_TABLES.into_iter().all(is_there);
            if leases_are_lost {
                drops.extend(LEASE_TABLES);
            } else {
                if is_there("positions") {
                    query(KEEP_FLOORS).execute(&mut *transaction).await.map_err(failed)?;
                }
                query(FORGET_POSTED).bind(Money(Usd::ZERO)).execute(&mut *transaction).await.map_err(failed)?;
                query(REFILL).bind(Money(Usd::ZERO)).execute(&mut *transaction).await.map_err(failed)?;
            }
            for table in drops {
                let drop = query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}")));
                drop.execute(&mut *transaction).await.map_err(failed)?;
            }
            let [answers, contacts, leases] = KEPT;
            let leases = if leases_are_lost { contacts } else { leases };
            let forget = query("DELETE FROM _sqlx_migrations WHERE description NOT IN ($1, $2, $3)");
            let forget = forget.bind(answers).bind(contacts).bind(leases);
            forget.execute(&mut *transaction).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            // Who opens the store after a crash right here does the same.
            MIGRATIONS.run(pool).await.map_err(|error| StoreError::unavailable("make its tables anew", error))
        }
    };
}

pub(super) use reset;
