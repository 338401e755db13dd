-- What goes with leases. The log does not hold it and a reset keeps it, as it keeps leases.

-- Usage records whose events had posted already, of leases that are still there. Each is drawn from its lease once, where it is
-- another charge and not the same record again. A reset forgets them, and the fold notes them again.
CREATE TABLE repeated_charges (
    event_id   uuid           NOT NULL,
    record_tag bigint         NOT NULL,
    lease_id   uuid           NOT NULL,
    account_id uuid           NOT NULL,
    usd        numeric(38,12) NOT NULL CHECK (usd >= 0),
    tokens     bigint         NOT NULL CHECK (tokens >= 0),
    settled    boolean        NOT NULL,
    PRIMARY KEY (event_id, record_tag)
);
CREATE INDEX repeated_charges_to_settle ON repeated_charges (event_id, record_tag) WHERE NOT settled;

-- The earliest run of each gateway that may still open leases.
CREATE TABLE gateway_runs (
    gateway_id uuid NOT NULL PRIMARY KEY,
    earliest   uuid NOT NULL
);
