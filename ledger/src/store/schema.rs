//! Whether a database's tables are this build's, for whoever only looks and must not change them.

use std::collections::BTreeMap;

use sqlx::migrate::Migrator;

use super::StoreError;

pub(super) const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";

/// Refuses tables that other migrations than this build's have made.
pub(super) fn check(migrator: &Migrator, applied: Vec<(i64, Vec<u8>)>) -> Result<(), StoreError> {
    let applied: BTreeMap<i64, Vec<u8>> = applied.into_iter().collect();
    let own: BTreeMap<i64, &[u8]> = migrator.iter().map(|own| (own.version, &*own.checksum)).collect();
    let refused = |why: String| Err(StoreError::unavailable("open its database only to look", why));
    if let Some(newer) = applied.keys().find(|version| !own.contains_key(version)) {
        return refused(format!(
            "another build made its tables (migration {newer} is not of this one): use that build"
        ));
    }
    for (version, checksum) in own {
        match applied.get(&version) {
            Some(applied) if applied == checksum => {}
            Some(_) => {
                return refused(format!("another build made its tables (migration {version} differs): use that build"));
            }
            None => {
                return refused(format!(
                    "an older build made its tables (migration {version} is missing): start this build's service once, \
                     which brings them up to date, or use that build"
                ));
            }
        }
    }
    Ok(())
}

/// What is said where not even the list of migrations can be read.
pub(super) fn no_tables(cause: &sqlx::Error) -> StoreError {
    let why = format!("it has no tables of any build ({cause}): start this build's service once, which makes them");
    StoreError::unavailable("open its database only to look", why)
}
