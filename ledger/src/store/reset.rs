//! Dropping all that the log can give again, the same for both adapters.

/// `reset` on a pool of either database. How a transaction that writes begins, and what tables there are, are each one's own.
macro_rules! reset {
    ($pool:ty, $begin:literal, $tables:literal) => {
        pub(super) async fn reset(pool: &$pool) -> Result<(), StoreError> {
            let failed = |error| StoreError::unavailable("drop its tables", error);
            let mut transaction = pool.begin_with($begin).await.map_err(failed)?;
            let tables: Vec<String> = query_scalar($tables).fetch_all(&mut *transaction).await.map_err(failed)?;
            let is_there = |table: &str| tables.iter().any(|there| there == table);
            // Of what the log does not hold, somebody may have dropped a part: that is made anew, too.
            let (kept, lost): (Vec<_>, Vec<_>) =
                KEPT.into_iter().partition(|(_, tables)| tables.iter().all(|table| is_there(table)));
            let has_leases = kept.iter().any(|(made_by, _)| *made_by == "leases");
            if has_leases && is_there("positions") {
                query(KEEP_FLOORS).execute(&mut *transaction).await.map_err(failed)?;
            }
            if has_leases {
                query(FORGET_POSTED).bind(Money(Usd::ZERO)).execute(&mut *transaction).await.map_err(failed)?;
                query(REFILL).bind(Money(Usd::ZERO)).execute(&mut *transaction).await.map_err(failed)?;
            }
            if kept.iter().any(|(made_by, _)| *made_by == "repeats") {
                query(FORGET_ALL_REPEATS).execute(&mut *transaction).await.map_err(failed)?;
            }
            let mut drops: Vec<&'static str> = PROJECTED.to_vec();
            for (_, tables) in &lost {
                drops.extend_from_slice(tables);
            }
            for table in drops {
                let drop = query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}")));
                drop.execute(&mut *transaction).await.map_err(failed)?;
            }
            let kept: Vec<String> = kept.iter().map(|(made_by, _)| format!("'{made_by}'")).collect();
            let kept = if kept.is_empty() { "''".to_owned() } else { kept.join(", ") };
            let forget = format!("DELETE FROM _sqlx_migrations WHERE description NOT IN ({kept})");
            query(AssertSqlSafe(forget)).execute(&mut *transaction).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            // Who opens the store after a crash right here does the same.
            MIGRATIONS.run(pool).await.map_err(|error| StoreError::unavailable("make its tables anew", error))
        }
    };
}

pub(super) use reset;
