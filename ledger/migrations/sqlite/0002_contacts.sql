-- Personal data. Not a projection: the log does not hold it, so a rebuild must not drop it, and it can be erased.
CREATE TABLE contacts (
    email      TEXT    NOT NULL PRIMARY KEY,
    account_id BLOB    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
