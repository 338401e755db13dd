-- The whole state of an account as one canonical document: what the fold goes on from. The columns beside it, the lots
-- and the keys are what questions look for. Everything here is a projection, and rows of an earlier build lack the
-- document, so the ledger folds its log again from the start.
DELETE FROM positions;
DELETE FROM accounts;
DELETE FROM lots;
DELETE FROM keys;
DELETE FROM postings;
DELETE FROM transfers;
DELETE FROM quarantine;

-- Text and not jsonb: the same state is the same bytes.
ALTER TABLE accounts ADD COLUMN state text NOT NULL;
ALTER TABLE lots ADD COLUMN expires_at bigint;
