-- One row for each request, and one for each correction of a request: what it changed. `cost_usd` is what was charged.
-- Times are microseconds since 1970-01-01T00:00:00Z: DateTime64 ends before the log's times do.
-- `positions` and `hours` live inside the table's parts, so an insert is in all three or in none of them.
-- The table must stay unpartitioned: an insert that spans partitions is several parts, and not atomic.
-- `epoch` is a number of this table alone, which a table made later does not have: an insert that was under way when the
-- table was dropped is refused by the next one. The store puts it in place of {epoch}, here, in the check and in the comment.
-- UUIDs sort by their second half; as integers they sort by time, so a batch looks its ids up in a few granules.
CREATE TABLE IF NOT EXISTS usage_charges (
    log_partition           UInt32,
    log_offset              UInt64,
    event_id                UUID,
    account_id              UUID,
    key_id                  UUID,
    model                   LowCardinality(String),
    upstream                LowCardinality(String),
    stream                  Bool,
    outcome                 LowCardinality(String),
    accuracy                LowCardinality(String),
    requests                UInt64,
    prompt_tokens           Int64,
    cached_prompt_tokens    Int64,
    completion_tokens       Int64,
    reasoning_tokens        Int64,
    cost_usd                Decimal(38, 12),
    started_at              Int64,
    ended_at                Int64,
    hour                    Int64,
    duration_ms             UInt64,
    epoch                   UInt64,
    PROJECTION positions (
        SELECT log_partition, max(log_offset)
        GROUP BY log_partition
    ),
    PROJECTION hours (
        SELECT
            account_id, hour, key_id, model,
            sum(requests),
            sum(prompt_tokens), sum(cached_prompt_tokens), sum(completion_tokens), sum(reasoning_tokens),
            sum(cost_usd)
        GROUP BY account_id, hour, key_id, model
    ),
    CONSTRAINT of_this_table CHECK epoch = {epoch}
)
ENGINE = MergeTree
ORDER BY (log_partition, toUInt128(event_id))
SETTINGS non_replicated_deduplication_window = 100000
COMMENT '{epoch}'
