-- Facts are of another form: corrections count, and what was charged and not the list price. The log has all that these
-- tables held, so they are made anew and filled from its begin.
DROP TABLE usage_facts;
DROP TABLE usage_hours;
DELETE FROM positions;

-- One row for each request, and one for each correction of a request: what it changed.
CREATE TABLE usage_facts (
    log_partition           INTEGER NOT NULL,
    log_offset              INTEGER NOT NULL,
    event_id                BLOB NOT NULL,
    account_id              BLOB NOT NULL,
    key_id                  BLOB NOT NULL,
    model                   TEXT NOT NULL,
    upstream                TEXT NOT NULL,
    stream                  INTEGER NOT NULL,
    outcome                 TEXT NOT NULL,
    accuracy                TEXT NOT NULL,
    requests                INTEGER NOT NULL,
    prompt_tokens           INTEGER NOT NULL,
    cached_prompt_tokens    INTEGER NOT NULL,
    completion_tokens       INTEGER NOT NULL,
    reasoning_tokens        INTEGER NOT NULL,
    cost_pico               INTEGER NOT NULL,   -- what was charged, in 10⁻¹² USD
    started_at              INTEGER NOT NULL,
    ended_at                INTEGER NOT NULL,
    duration_ms             INTEGER NOT NULL,
    PRIMARY KEY (log_partition, event_id)
) STRICT, WITHOUT ROWID;

-- Sums over the facts. An hour's cost may be beyond 2⁶³ × 10⁻¹² USD, so it is cost_micro × 10⁻⁶ + cost_rest × 10⁻¹².
CREATE TABLE usage_hours (
    account_id              BLOB NOT NULL,
    hour                    INTEGER NOT NULL,
    key_id                  BLOB NOT NULL,
    model                   TEXT NOT NULL,
    requests                INTEGER NOT NULL,
    prompt_tokens           INTEGER NOT NULL,
    cached_prompt_tokens    INTEGER NOT NULL,
    completion_tokens       INTEGER NOT NULL,
    reasoning_tokens        INTEGER NOT NULL,
    cost_micro              INTEGER NOT NULL,
    cost_rest               INTEGER NOT NULL CHECK (cost_rest BETWEEN 0 AND 999999),
    PRIMARY KEY (account_id, hour, key_id, model)
) STRICT, WITHOUT ROWID;
