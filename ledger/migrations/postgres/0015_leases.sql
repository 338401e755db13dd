-- What gateways may spend by themselves. The log does not hold it and a reset keeps it: whoever drops these tables while
-- gateways run lets them overspend.

-- One row a lease, until nothing can post on it any more. All amounts from its begin on.
CREATE TABLE leases (
    lease_id       uuid           PRIMARY KEY,
    account_id     uuid           NOT NULL,
    partition_no   bigint         NOT NULL,
    gateway_id     uuid           NOT NULL,
    run_id         uuid           NOT NULL,
    seq            bigint         NOT NULL,
    granted_usd    numeric(38,12) NOT NULL CHECK (granted_usd >= 0),
    granted_tokens bigint         NOT NULL CHECK (granted_tokens >= 0),
    spent_usd      numeric(38,12) NOT NULL CHECK (spent_usd >= 0),
    spent_tokens   bigint         NOT NULL CHECK (spent_tokens >= 0),
    posted_usd     numeric(38,12) NOT NULL CHECK (posted_usd >= 0),
    posted_tokens  bigint         NOT NULL CHECK (posted_tokens >= 0),
    closed         boolean        NOT NULL,
    -- All that was spent on it is in the log before this offset.
    ends_at        bigint,
    renewed_at     bigint         NOT NULL,
    CHECK (spent_usd <= granted_usd AND spent_tokens <= granted_tokens)
);
CREATE INDEX leases_by_account ON leases (account_id);
CREATE INDEX leases_by_gateway ON leases (gateway_id);
CREATE INDEX leases_that_end ON leases (partition_no, ends_at) WHERE ends_at IS NOT NULL;

-- Of each account that ever had a lease, what it has and what its leases reserve of that. `short` is what a fact (a refund,
-- a dispute) has taken away from under its leases: only a fact makes it, and no grant is made while there is any.
CREATE TABLE funds (
    account_id      uuid           PRIMARY KEY,
    usd             numeric(38,12) NOT NULL CHECK (usd >= 0),
    tokens          bigint         NOT NULL CHECK (tokens >= 0),
    reserved_usd    numeric(38,12) NOT NULL CHECK (reserved_usd >= 0),
    reserved_tokens bigint         NOT NULL CHECK (reserved_tokens >= 0),
    short_usd       numeric(38,12) NOT NULL CHECK (short_usd >= 0),
    short_tokens    bigint         NOT NULL CHECK (short_tokens >= 0),
    CONSTRAINT no_overspend_of_money CHECK (reserved_usd <= usd + short_usd),
    CONSTRAINT no_overspend_of_tokens CHECK (reserved_tokens <= tokens + short_tokens)
);

-- How far each partition was folded before the tables were dropped: what an account has is not known again before that.
CREATE TABLE lease_floors (
    partition_no bigint PRIMARY KEY,
    next_offset  bigint NOT NULL
);
