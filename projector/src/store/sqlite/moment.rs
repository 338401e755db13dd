//! All that the file holds, summed up, in one read transaction: writers go on, and are not seen.

use std::collections::BTreeMap;

use schemas::{AccountId, KeyId, Offset, PartitionId, Timestamp};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{SUMS_OF_HOURS, count, sums};
use crate::audit::UsageSums;
use crate::{StoreError, UsageGroup, UsageMoment};

/// The sums of facts, in the order of [`sums`]. The remainder of a time before the epoch is negative.
const FACTS: &str = "\
    SELECT sum(requests), sum(prompt_tokens), sum(cached_prompt_tokens), sum(completion_tokens), sum(reasoning_tokens),
        sum(cost_pico / 1000000), sum(cost_pico % 1000000),
        account_id, ended_at - (ended_at % 3600000000 + 3600000000) % 3600000000 AS hour, key_id, model, outcome
    FROM usage_facts GROUP BY account_id, hour, key_id, model, outcome";

pub(super) async fn read(pool: &SqlitePool) -> Result<Result<UsageMoment, StoreError>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let positions: Vec<(u32, i64)> =
        sqlx::query_as("SELECT log_partition, next_offset FROM positions").fetch_all(&mut *transaction).await?;
    let mut moment = UsageMoment::default();
    for (partition, next) in positions {
        moment.positions.insert(PartitionId(partition), Offset(count(next)?));
    }
    let rollups = format!(
        "SELECT {SUMS_OF_HOURS}, account_id, hour, key_id, model, NULL AS outcome FROM usage_hours
         GROUP BY account_id, hour, key_id, model"
    );
    for (sums, statement) in [(&mut moment.facts, FACTS), (&mut moment.rollups, &rollups)] {
        match groups(&mut transaction, statement).await? {
            Ok(groups) => *sums = groups,
            Err(error) => return Ok(Err(error)),
        }
    }
    transaction.rollback().await?;
    Ok(Ok(moment))
}

async fn groups(
    connection: &mut SqliteConnection,
    statement: &str,
) -> Result<Result<UsageSums, StoreError>, sqlx::Error> {
    let rows = sqlx::query(AssertSqlSafe(statement.to_owned())).fetch_all(connection).await?;
    let mut groups = BTreeMap::new();
    for row in &rows {
        match sums(row)?.totals() {
            Ok(totals) => groups.insert(group(row)?, totals),
            Err(error) => return Ok(Err(error)),
        };
    }
    Ok(Ok(groups))
}

fn group(row: &SqliteRow) -> Result<UsageGroup, sqlx::Error> {
    Ok(UsageGroup {
        account: AccountId(row.try_get("account_id")?),
        hour: Timestamp::from_micros(row.try_get("hour")?),
        key: KeyId(row.try_get("key_id")?),
        model: row.try_get("model")?,
        outcome: row.try_get("outcome")?,
    })
}
