-- Invoices, as the operator's stream numbered them. What they say is in the postings of their range: those of the account
-- after `after_offset` (from its first one on, where that is null) up to `through_offset`.
CREATE TABLE invoices (
    number            INTEGER NOT NULL PRIMARY KEY,
    event_id          BLOB    NOT NULL,
    account_id        BLOB    NOT NULL,
    month             TEXT    NOT NULL,
    account_partition INTEGER NOT NULL,
    after_offset      INTEGER,
    through_offset    INTEGER NOT NULL,
    issued_at         INTEGER NOT NULL,
    partition_no      INTEGER NOT NULL,
    log_offset        INTEGER NOT NULL
) STRICT;
CREATE INDEX invoices_of_account ON invoices (account_id, number);

-- With the time, the record at which a statement or an invoice is cut is found in the index alone.
DROP INDEX statements;
CREATE INDEX statements ON postings (account_id, log_offset, event_time) WHERE detail IS NOT NULL;
