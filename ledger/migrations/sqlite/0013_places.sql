-- Transfers stand beside their posting by its place in the log. Nothing looks for one by its event.
CREATE TABLE placed (
    partition_no INTEGER NOT NULL,
    log_offset   INTEGER NOT NULL,
    event_id     BLOB    NOT NULL,
    idx          INTEGER NOT NULL,
    debit        TEXT    NOT NULL,
    credit       TEXT    NOT NULL,
    commodity    TEXT    NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount > 0),
    code         TEXT    NOT NULL,
    lot_id       BLOB,
    PRIMARY KEY (partition_no, log_offset, idx),
    CHECK (debit <> credit)
) STRICT, WITHOUT ROWID;
INSERT INTO placed
    SELECT p.partition_no, p.log_offset, t.event_id, t.idx, t.debit, t.credit, t.commodity, t.amount, t.code, t.lot_id
    FROM transfers t JOIN postings p ON p.event_id = t.event_id;
DROP TABLE transfers;
ALTER TABLE placed RENAME TO transfers;
