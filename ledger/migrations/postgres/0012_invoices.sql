-- Invoices, as the operator's stream numbered them. What they say is in the postings of their range: those of the account
-- after `after_offset` (from its first one on, where that is null) up to `through_offset`.
CREATE TABLE invoices (
    number            bigint PRIMARY KEY,
    event_id          uuid   NOT NULL,
    account_id        uuid   NOT NULL,
    month             text   NOT NULL,
    account_partition bigint NOT NULL,
    after_offset      bigint,
    through_offset    bigint NOT NULL,
    issued_at         bigint NOT NULL,
    partition_no      bigint NOT NULL,
    log_offset        bigint NOT NULL
);
CREATE INDEX invoices_of_account ON invoices (account_id, number);

-- With the time, the record at which a statement or an invoice is cut is found in the index alone.
DROP INDEX statements;
CREATE INDEX statements ON postings (account_id, log_offset, event_time) WHERE detail IS NOT NULL;
