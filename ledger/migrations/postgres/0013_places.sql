-- Two rows an event: what they cost to write is what the ledger costs.

-- Transfers stand beside their posting by its place in the log. Nothing looks for one by its event.
CREATE TABLE placed (
    partition_no bigint         NOT NULL,
    log_offset   bigint         NOT NULL,
    event_id     uuid           NOT NULL,
    idx          integer        NOT NULL,
    debit        text           NOT NULL,
    credit       text           NOT NULL,
    commodity    text           NOT NULL,
    amount       numeric(38,12) NOT NULL CONSTRAINT transfers_above_zero CHECK (amount > 0),
    code         text           NOT NULL,
    lot_id       uuid,
    CONSTRAINT transfers_between_two CHECK (debit <> credit)
);
INSERT INTO placed
    SELECT p.partition_no, p.log_offset, t.event_id, t.idx, t.debit, t.credit, t.commodity, t.amount, t.code, t.lot_id
    FROM transfers t JOIN postings p ON p.event_id = t.event_id ORDER BY p.partition_no, p.log_offset, t.idx;
DROP TABLE transfers;
ALTER TABLE placed RENAME TO transfers;

-- Rows come in log order, batch by batch, so the range of places in some pages is index enough for audits, and costs
-- nearly nothing to keep.
CREATE INDEX transfers_in_log_order ON transfers USING brin (partition_no, log_offset)
    WITH (pages_per_range = 32, autosummarize = on);
DROP INDEX postings_in_log_order;
CREATE INDEX postings_in_log_order ON postings USING brin (partition_no, log_offset)
    WITH (pages_per_range = 32, autosummarize = on);

-- Written as they are, without parsing them again.
ALTER TABLE postings ALTER COLUMN detail TYPE text;
ALTER TABLE accounts ALTER COLUMN plan TYPE text;

-- Room for a row's next version on its own page: no index is touched then.
ALTER TABLE accounts SET (fillfactor = 50);
ALTER TABLE lots SET (fillfactor = 50);
