-- The first eight bytes of the partition's chain right after the record: where an audit's own chain parts from it, the log
-- is not what was applied any more. Null in rows of an earlier build.
ALTER TABLE postings ADD COLUMN chain_tag INTEGER;

-- Audits go through postings in log order, a part at a time.
CREATE INDEX postings_in_log_order ON postings (partition_no, log_offset);
