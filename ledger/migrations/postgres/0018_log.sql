-- Which log this is folded from, so that no other one is gone on with: its last record that was applied, by its hash (rows of
-- an earlier build lack it; 0017 has emptied the table), and how many partitions it has, which decides where an account's
-- events are.
ALTER TABLE positions ADD COLUMN last_record bytea NOT NULL;

CREATE TABLE log (
    one        integer PRIMARY KEY CHECK (one = 1),
    partitions bigint  NOT NULL CHECK (partitions > 0)
);
