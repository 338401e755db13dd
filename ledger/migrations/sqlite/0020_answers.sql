-- Answers that are kept for a repeat under the same Idempotency-Key, sealed under the client's own API key. Not a projection:
-- the log does not hold them, so a rebuild must not drop them; each is deleted within a day.
CREATE TABLE answers (
    answer_id    BLOB    NOT NULL PRIMARY KEY,
    account_id   BLOB    NOT NULL,
    fingerprint  BLOB    NOT NULL,
    -- The request that is, or was, charged for it.
    request_id   BLOB    NOT NULL,
    -- Who makes it, or has made it; nobody else may before held_until. NULL from the request's end on.
    holder       BLOB    NOT NULL,
    held_until   INTEGER,
    -- NULL while it is being made, and where it was too large to be kept.
    sealed       BLOB,
    sealed_bytes INTEGER NOT NULL DEFAULT 0,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX answers_by_end ON answers (expires_at);
CREATE INDEX answers_by_account ON answers (account_id, sealed_bytes);
