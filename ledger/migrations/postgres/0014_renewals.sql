-- When the open period of an account's subscription ends: what a ledger looks for that renews. A projection like all others,
-- and rows of an earlier build lack it, so the ledger folds its log again from the start.
DELETE FROM positions;
DELETE FROM accounts;
DELETE FROM lots;
DELETE FROM keys;
DELETE FROM postings;
DELETE FROM transfers;
DELETE FROM quarantine;
DELETE FROM invoices;

CREATE TABLE renewals (
    account_id uuid   PRIMARY KEY,
    due_at     bigint NOT NULL
);
CREATE INDEX renewals_by_time ON renewals (due_at);
