-- What each gateway may admit of an account's requests, as one document an account. The log does not hold it and a reset keeps
-- it: whoever drops it lets gateways admit more than the plan's limits for a minute, and nothing worse.
CREATE TABLE request_shares (
    account_id uuid PRIMARY KEY,
    shares     text NOT NULL
);
