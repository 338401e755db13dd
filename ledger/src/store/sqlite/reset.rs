//! Dropping all that the log can give again.

use schemas::Usd;
use sqlx::{AssertSqlSafe, SqlitePool, query, query_scalar};

use super::MIGRATIONS;
use crate::store::StoreError;
use crate::store::leases::{FORGET_ALL_REPEATS, FORGET_POSTED, KEEP_FLOORS, REFILL};
use crate::store::read::Money;
use crate::store::reset::reset;
use crate::store::snapshot::{KEPT, PROJECTED};

reset!(SqlitePool, "BEGIN IMMEDIATE", "SELECT name FROM sqlite_master WHERE type = 'table'");
