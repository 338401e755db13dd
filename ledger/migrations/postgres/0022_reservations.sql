-- What the ledger sets aside for itself, on leases of its own. The log does not hold it and a reset keeps it, as it keeps leases.

-- Events that charge a plan's price, from before they are appended until they are known to be folded, or never to be
-- appended. The lease has the event's id.
CREATE TABLE plan_charges (
    event_id     uuid   NOT NULL PRIMARY KEY,
    account_id   uuid   NOT NULL,
    set_aside_at bigint NOT NULL
);
CREATE INDEX plan_charges_by_age ON plan_charges (set_aside_at);
