//! The questions, which are the same in both databases.

pub(in crate::store) const HEADS: &str = "SELECT partition_no, next_offset, chain FROM positions";

pub(in crate::store) const POSTINGS: &str = "\
    SELECT event_id, account_id, log_offset, event_type, event_time, amount_usd, balance_usd,
        CAST(detail AS text) AS detail, chain_tag, fact_tag
    FROM postings WHERE partition_no = $1 AND log_offset >= $2 AND log_offset < $3 ORDER BY log_offset, event_id";

pub(in crate::store) const TRANSFERS: &str = "\
    SELECT event_id, CAST(idx AS bigint) AS idx, debit, credit, commodity, amount, code, lot_id
    FROM transfers WHERE partition_no = $1 AND log_offset >= $2 AND log_offset < $3 ORDER BY log_offset, idx";

pub(in crate::store) const QUARANTINED: &str = "\
    SELECT partition_no, log_offset, event_id, account_id, reason, detail, record
    FROM quarantine WHERE partition_no = $1 AND log_offset >= $2 AND log_offset < $3 ORDER BY log_offset";

pub(in crate::store) const ACCOUNTS: &str = "\
    SELECT account_id, partition_no, state, status, CAST(plan AS text) AS plan, opened_at, lots_opened, debt_usd, balance_usd, version_offset,
        (SELECT r.due_at FROM renewals r WHERE r.account_id = accounts.account_id) AS due_at
    FROM accounts WHERE account_id >= $1 ORDER BY account_id LIMIT $2";

pub(in crate::store) const LOTS: &str = "\
    SELECT account_id, lot_id, source, amount_usd, remaining_usd, CAST(priority AS bigint) AS priority, sequence, expires_at
    FROM lots WHERE account_id >= $1 AND account_id <= $2";

pub(in crate::store) const KEYS: &str = "\
    SELECT account_id, key_id, hash, name, hint
    FROM keys WHERE account_id >= $1 AND account_id <= $2";

pub(in crate::store) const COUNTS: &str = "\
    SELECT p.account_id, CAST(count(DISTINCT p.event_id) AS bigint) AS postings,
        CAST(count(t.event_id) AS bigint) AS transfers
    FROM postings p LEFT JOIN transfers t ON t.partition_no = p.partition_no AND t.log_offset = p.log_offset
    GROUP BY p.account_id";

pub(in crate::store) const STRAYS: [(&str, &str); 4] = [
    (
        "a lot of no account",
        "SELECT l.lot_id AS id FROM lots l WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.account_id = l.account_id) LIMIT 10",
    ),
    (
        "a key of no account",
        "SELECT k.key_id AS id FROM keys k WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.account_id = k.account_id) LIMIT 10",
    ),
    (
        "a renewal of no account",
        "SELECT r.account_id AS id FROM renewals r WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.account_id = r.account_id) LIMIT 10",
    ),
    (
        "a transfer of no posting",
        "SELECT t.event_id AS id FROM transfers t WHERE NOT EXISTS (SELECT 1 FROM postings p WHERE p.event_id = t.event_id) LIMIT 10",
    ),
];

pub(in crate::store) const BEYOND: &str = "\
    SELECT partition_no, log_offset FROM postings p WHERE NOT EXISTS (
        SELECT 1 FROM positions h WHERE h.partition_no = p.partition_no AND p.log_offset >= 0 AND (p.log_offset < h.next_offset OR h.next_offset < 0))
    UNION SELECT partition_no, log_offset FROM quarantine q WHERE NOT EXISTS (
        SELECT 1 FROM positions h WHERE h.partition_no = q.partition_no AND q.log_offset >= 0 AND (q.log_offset < h.next_offset OR h.next_offset < 0))
    UNION SELECT partition_no, log_offset FROM invoices i WHERE NOT EXISTS (
        SELECT 1 FROM positions h WHERE h.partition_no = i.partition_no AND i.log_offset >= 0 AND (i.log_offset < h.next_offset OR h.next_offset < 0))
    LIMIT 10";

pub(in crate::store) const QUARANTINE: &str = "\
    SELECT q.partition_no, q.log_offset, q.event_id, q.account_id, q.reason, q.detail, q.record,
        p.partition_no AS posted_partition, p.log_offset AS posted_offset
    FROM quarantine q LEFT JOIN postings p ON p.event_id = q.event_id
    WHERE q.partition_no > $1 OR (q.partition_no = $1 AND q.log_offset > $2)
    ORDER BY q.partition_no, q.log_offset LIMIT $3";
