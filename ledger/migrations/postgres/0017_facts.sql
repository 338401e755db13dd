-- Which fact an event id stands for: a repeat of the id that is another fact goes into quarantine. Rows of an earlier build lack
-- it, so the ledger folds its log again from the start.
DELETE FROM positions;
DELETE FROM accounts;
DELETE FROM lots;
DELETE FROM keys;
DELETE FROM postings;
DELETE FROM transfers;
DELETE FROM quarantine;
DELETE FROM invoices;
DELETE FROM renewals;

ALTER TABLE postings ADD COLUMN fact_tag bigint NOT NULL;
