//! The engines under test, and how a test runs on both.

use std::sync::Arc;

use projector::{ClickHouseStore, SqliteStore, UsageStore};
use schemas::config::{ClickHouse, Secret};
use tempfile::TempDir;

/// An engine with a database of the test's own.
pub(super) enum Engine {
    Sqlite(TempDir),
    ClickHouse(tests::clickhouse::Database),
}

impl Engine {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(super) async fn clickhouse() -> Self {
        Self::ClickHouse(tests::clickhouse::database().await)
    }

    /// A store that remembers only what the engine does, as after a restart.
    pub(super) async fn open(&self) -> Arc<dyn UsageStore> {
        match self {
            Self::Sqlite(folder) => Arc::new(SqliteStore::open(&folder.path().join("usage.db")).await.unwrap()),
            Self::ClickHouse(database) => {
                let config = ClickHouse {
                    url: database.url().to_owned(),
                    database: database.name().to_owned(),
                    user: database.user().map(str::to_owned),
                    password: database.password().map(|password| Secret::new(password.to_owned())),
                };
                Arc::new(ClickHouseStore::connect(&config).await.unwrap())
            }
        }
    }
}

/// Runs each test on both engines.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Engine::sqlite()).await;
            })+
        }

        mod clickhouse {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Engine::clickhouse().await).await;
            })+
        }
    };
}

pub(super) use on_both;
