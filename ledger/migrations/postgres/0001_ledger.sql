-- Times are microseconds since 1970 in UTC: bigint, because that is exactly what events hold.

-- The position of record: moved by compare-and-swap, in the transaction that writes what the records led to.
CREATE TABLE positions (
    partition_no bigint PRIMARY KEY,
    next_offset  bigint NOT NULL,
    chain        bytea  NOT NULL CHECK (length(chain) = 32)
);

CREATE TABLE accounts (
    account_id     uuid           PRIMARY KEY,
    partition_no   bigint         NOT NULL,
    status         text           NOT NULL,
    plan           jsonb          NOT NULL,
    opened_at      bigint         NOT NULL,
    lots_opened    bigint         NOT NULL,
    debt_usd       numeric(38,12) NOT NULL CHECK (debt_usd >= 0),
    balance_usd    numeric(38,12) NOT NULL,
    version_offset bigint         NOT NULL
);

-- Lots with money left. What emptied lots gave is in the transfers.
CREATE TABLE lots (
    account_id    uuid           NOT NULL,
    lot_id        uuid           NOT NULL,
    source        text           NOT NULL,
    amount_usd    numeric(38,12) NOT NULL,
    remaining_usd numeric(38,12) NOT NULL CHECK (remaining_usd >= 0),
    priority      smallint       NOT NULL,
    sequence      bigint         NOT NULL,
    PRIMARY KEY (account_id, lot_id),
    CHECK (remaining_usd <= amount_usd)
);

-- Live keys. The hash is not unique by constraint: a record that claims another's hash must not block a partition.
CREATE TABLE keys (
    account_id uuid  NOT NULL,
    key_id     uuid  NOT NULL,
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    name       text  NOT NULL,
    hint       text  NOT NULL,
    PRIMARY KEY (account_id, key_id)
);
CREATE INDEX keys_by_hash ON keys (hash);

-- An event id posts at most once, for ever. `detail` is null where the event does not concern money.
CREATE TABLE postings (
    event_id     uuid           CONSTRAINT postings_once PRIMARY KEY,
    account_id   uuid           NOT NULL,
    partition_no bigint         NOT NULL,
    log_offset   bigint         NOT NULL,
    event_type   text           NOT NULL,
    event_time   bigint         NOT NULL,
    amount_usd   numeric(38,12) NOT NULL,
    balance_usd  numeric(38,12) NOT NULL,
    detail       jsonb
);
CREATE INDEX statements ON postings (account_id, log_offset) WHERE detail IS NOT NULL;

-- Double entry: `amount` leaves `credit` and arrives at `debit`.
CREATE TABLE transfers (
    event_id  uuid           NOT NULL,
    idx       integer        NOT NULL,
    debit     text           NOT NULL,
    credit    text           NOT NULL,
    commodity text           NOT NULL,
    amount    numeric(38,12) NOT NULL CHECK (amount > 0),
    code      text           NOT NULL,
    lot_id    uuid,
    PRIMARY KEY (event_id, idx),
    CHECK (debit <> credit)
);

-- Records that can't post, as the log holds them.
CREATE TABLE quarantine (
    partition_no bigint NOT NULL,
    log_offset   bigint NOT NULL,
    event_id     uuid,
    account_id   uuid,
    reason       text   NOT NULL,
    detail       text   NOT NULL,
    record       bytea  NOT NULL,
    PRIMARY KEY (partition_no, log_offset)
);
