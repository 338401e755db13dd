-- Money is a count of 10^-12 USD, times are microseconds since 1970 in UTC, ids are the 16 bytes of a UUID.

-- The position of record: moved by compare-and-swap, in the transaction that writes what the records led to.
CREATE TABLE positions (
    partition_no INTEGER PRIMARY KEY,
    next_offset  INTEGER NOT NULL,
    chain        BLOB    NOT NULL CHECK (length(chain) = 32)
) STRICT;

CREATE TABLE accounts (
    account_id     BLOB    NOT NULL PRIMARY KEY,
    partition_no   INTEGER NOT NULL,
    status         TEXT    NOT NULL,
    plan           TEXT    NOT NULL CHECK (json_valid(plan)),
    opened_at      INTEGER NOT NULL,
    lots_opened    INTEGER NOT NULL,
    debt_usd       INTEGER NOT NULL CHECK (debt_usd >= 0),
    balance_usd    INTEGER NOT NULL,
    version_offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Lots with money left. What emptied lots gave is in the transfers.
CREATE TABLE lots (
    account_id    BLOB    NOT NULL,
    lot_id        BLOB    NOT NULL,
    source        TEXT    NOT NULL,
    amount_usd    INTEGER NOT NULL,
    remaining_usd INTEGER NOT NULL CHECK (remaining_usd >= 0),
    priority      INTEGER NOT NULL,
    sequence      INTEGER NOT NULL,
    PRIMARY KEY (account_id, lot_id),
    CHECK (remaining_usd <= amount_usd)
) STRICT, WITHOUT ROWID;

-- Live keys. The hash is not unique by constraint: a record that claims another's hash must not block a partition.
CREATE TABLE keys (
    account_id BLOB NOT NULL,
    key_id     BLOB NOT NULL,
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    name       TEXT NOT NULL,
    hint       TEXT NOT NULL,
    PRIMARY KEY (account_id, key_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_hash ON keys (hash);

-- An event id posts at most once, for ever. `detail` is null where the event does not concern money.
CREATE TABLE postings (
    event_id     BLOB    NOT NULL PRIMARY KEY,
    account_id   BLOB    NOT NULL,
    partition_no INTEGER NOT NULL,
    log_offset   INTEGER NOT NULL,
    event_type   TEXT    NOT NULL,
    event_time   INTEGER NOT NULL,
    amount_usd   INTEGER NOT NULL,
    balance_usd  INTEGER NOT NULL,
    detail       TEXT CHECK (json_valid(detail))
) STRICT;
CREATE INDEX statements ON postings (account_id, log_offset) WHERE detail IS NOT NULL;

-- Double entry: `amount` leaves `credit` and arrives at `debit`.
CREATE TABLE transfers (
    event_id  BLOB    NOT NULL,
    idx       INTEGER NOT NULL,
    debit     TEXT    NOT NULL,
    credit    TEXT    NOT NULL,
    commodity TEXT    NOT NULL,
    amount    INTEGER NOT NULL CHECK (amount > 0),
    code      TEXT    NOT NULL,
    lot_id    BLOB,
    PRIMARY KEY (event_id, idx),
    CHECK (debit <> credit)
) STRICT, WITHOUT ROWID;

-- Records that can't post, as the log holds them.
CREATE TABLE quarantine (
    partition_no INTEGER NOT NULL,
    log_offset   INTEGER NOT NULL,
    event_id     BLOB,
    account_id   BLOB,
    reason       TEXT    NOT NULL,
    detail       TEXT    NOT NULL,
    record       BLOB    NOT NULL,
    PRIMARY KEY (partition_no, log_offset)
) STRICT;
