-- For a table of an earlier build, which has no number of its own, and refuses nothing until it is rebuilt.
ALTER TABLE usage_charges ADD COLUMN IF NOT EXISTS epoch UInt64
