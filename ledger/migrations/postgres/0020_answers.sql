-- Answers that are kept for a repeat under the same Idempotency-Key, sealed under the client's own API key. Not a projection:
-- the log does not hold them, so a rebuild must not drop them; each is deleted within a day.
CREATE TABLE answers (
    answer_id    uuid   PRIMARY KEY,
    account_id   uuid   NOT NULL,
    fingerprint  uuid   NOT NULL,
    -- The request that is, or was, charged for it.
    request_id   uuid   NOT NULL,
    -- Who makes it, or has made it; nobody else may before held_until. NULL from the request's end on.
    holder       uuid   NOT NULL,
    held_until   bigint,
    -- NULL while it is being made, and where it was too large to be kept.
    sealed       bytea,
    sealed_bytes bigint NOT NULL DEFAULT 0,
    expires_at   bigint NOT NULL
);
-- What is encrypted can't be compressed.
ALTER TABLE answers ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX answers_by_end ON answers (expires_at);
CREATE INDEX answers_by_account ON answers (account_id) INCLUDE (sealed_bytes);
