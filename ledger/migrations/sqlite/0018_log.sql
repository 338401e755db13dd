-- Which log this is folded from, so that no other one is gone on with: its last record that was applied, by its hash (rows of
-- an earlier build lack it; 0017 has emptied the table), and how many partitions it has, which decides where an account's
-- events are.
ALTER TABLE positions ADD COLUMN last_record BLOB NOT NULL DEFAULT x'';

CREATE TABLE log (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    partitions INTEGER NOT NULL CHECK (partitions > 0)
) STRICT;
