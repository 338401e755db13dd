-- Personal data. Not a projection: the log does not hold it, so a rebuild must not drop it, and it can be erased.
CREATE TABLE contacts (
    email      text   PRIMARY KEY,
    account_id uuid   NOT NULL UNIQUE,
    created_at bigint NOT NULL
);
