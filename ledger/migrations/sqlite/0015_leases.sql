-- What gateways may spend by themselves. The log does not hold it and a reset keeps it: whoever drops these tables while
-- gateways run lets them overspend.

-- One row a lease, until nothing can post on it any more. All amounts from its begin on.
CREATE TABLE leases (
    lease_id       BLOB    NOT NULL PRIMARY KEY,
    account_id     BLOB    NOT NULL,
    partition_no   INTEGER NOT NULL,
    gateway_id     BLOB    NOT NULL,
    run_id         BLOB    NOT NULL,
    seq            INTEGER NOT NULL,
    granted_usd    INTEGER NOT NULL CHECK (granted_usd >= 0),
    granted_tokens INTEGER NOT NULL CHECK (granted_tokens >= 0),
    spent_usd      INTEGER NOT NULL CHECK (spent_usd >= 0),
    spent_tokens   INTEGER NOT NULL CHECK (spent_tokens >= 0),
    posted_usd     INTEGER NOT NULL CHECK (posted_usd >= 0),
    posted_tokens  INTEGER NOT NULL CHECK (posted_tokens >= 0),
    closed         INTEGER NOT NULL CHECK (closed IN (0, 1)),
    -- All that was spent on it is in the log before this offset.
    ends_at        INTEGER,
    renewed_at     INTEGER NOT NULL,
    CHECK (spent_usd <= granted_usd AND spent_tokens <= granted_tokens)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_account ON leases (account_id);
CREATE INDEX leases_by_gateway ON leases (gateway_id);
CREATE INDEX leases_that_end ON leases (partition_no, ends_at) WHERE ends_at IS NOT NULL;

-- Of each account that ever had a lease, what it has and what its leases reserve of that. `short` is what a fact (a refund,
-- a dispute) has taken away from under its leases: only a fact makes it, and no grant is made while there is any.
CREATE TABLE funds (
    account_id      BLOB    NOT NULL PRIMARY KEY,
    usd             INTEGER NOT NULL CHECK (usd >= 0),
    tokens          INTEGER NOT NULL CHECK (tokens >= 0),
    reserved_usd    INTEGER NOT NULL CHECK (reserved_usd >= 0),
    reserved_tokens INTEGER NOT NULL CHECK (reserved_tokens >= 0),
    short_usd       INTEGER NOT NULL CHECK (short_usd >= 0),
    short_tokens    INTEGER NOT NULL CHECK (short_tokens >= 0),
    CONSTRAINT no_overspend_of_money CHECK (reserved_usd <= usd + short_usd),
    CONSTRAINT no_overspend_of_tokens CHECK (reserved_tokens <= tokens + short_tokens)
) STRICT, WITHOUT ROWID;

-- How far each partition was folded before the tables were dropped: what an account has is not known again before that.
CREATE TABLE lease_floors (
    partition_no INTEGER PRIMARY KEY,
    next_offset  INTEGER NOT NULL
) STRICT;
