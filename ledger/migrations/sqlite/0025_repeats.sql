-- What goes with leases. The log does not hold it and a reset keeps it, as it keeps leases.

-- Usage records whose events had posted already, of leases that are still there. Each is drawn from its lease once, where it is
-- another charge and not the same record again. A reset forgets them, and the fold notes them again.
CREATE TABLE repeated_charges (
    event_id   BLOB    NOT NULL,
    record_tag INTEGER NOT NULL,
    lease_id   BLOB    NOT NULL,
    account_id BLOB    NOT NULL,
    usd        INTEGER NOT NULL CHECK (usd >= 0),
    tokens     INTEGER NOT NULL CHECK (tokens >= 0),
    settled    INTEGER NOT NULL CHECK (settled IN (0, 1)),
    PRIMARY KEY (event_id, record_tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX repeated_charges_to_settle ON repeated_charges (event_id, record_tag) WHERE NOT settled;

-- The earliest run of each gateway that may still open leases.
CREATE TABLE gateway_runs (
    gateway_id BLOB NOT NULL PRIMARY KEY,
    earliest   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
