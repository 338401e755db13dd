//! All that the table holds, summed up twice in one query: from the facts, and from the rollups.
//!
//! The query reads one snapshot of the table's parts, so inserts go on and are not seen. Positions come with the facts
//! themselves. How requests ended is not in the rollups, so facts can't be answered from them, and the server is told to
//! fail what it does not answer from the rollups: they would agree with the facts whatever they hold.

use std::time::Duration;

use schemas::{AccountId, KeyId, Offset, PartitionId, Timestamp};

use super::rows::GroupRow;
use super::{ClickHouseStore, SUMS};
use crate::{StoreError, UsageGroup, UsageMoment};

/// It goes through every fact.
const TIMEOUT: Duration = Duration::from_hours(1);

pub(super) async fn read(store: &ClickHouseStore) -> Result<UsageMoment, StoreError> {
    let mut moment = UsageMoment::default();
    // Of nothing, the server has nothing to answer from rollups, and says that as an error.
    let any = store.client.query("SELECT max(log_offset) FROM usage_charges GROUP BY log_partition LIMIT 1");
    if store.answer(any.fetch_optional::<u64>()).await?.is_none() {
        return Ok(moment);
    }
    let sql = format!(
        "SELECT toUInt8(1) AS fact, log_partition, max(log_offset) AS last, account_id AS account, hour, key_id AS key, \
             toString(model) AS model_id, toString(outcome) AS ended, {SUMS} \
         FROM usage_charges GROUP BY log_partition, account_id, hour, key_id, model, outcome \
         UNION ALL \
         SELECT toUInt8(0) AS fact, toUInt32(0), toUInt64(0), account_id AS account, hour, key_id AS key, \
             toString(model) AS model_id, '' AS ended, {SUMS} \
         FROM usage_charges GROUP BY account_id, hour, key_id, model"
    );
    let query = store
        .client
        .query(&sql)
        .with_setting("enable_shared_storage_snapshot_in_query", "1")
        .with_setting("optimize_use_projections", "1")
        .with_setting("force_optimize_projection_name", "hours");
    let rows: Vec<GroupRow> = store.answer_within(TIMEOUT, query.fetch_all()).await?;
    for row in rows {
        let totals = row.sums().totals()?;
        let outcome = (row.fact == 1).then_some(row.ended);
        let (account, hour) = (AccountId(row.account), Timestamp::from_micros(row.hour));
        let group = UsageGroup { account, hour, key: KeyId(row.key), model: row.model_id, outcome };
        if row.fact == 1 {
            let position = moment.positions.entry(PartitionId(row.log_partition)).or_default();
            *position = Offset(row.last).next().max(*position);
            // An account that has facts in two partitions has two rows of a group.
            crate::audit::add(moment.facts.entry(group).or_default(), &totals);
        } else {
            moment.rollups.insert(group, totals);
        }
    }
    Ok(moment)
}
