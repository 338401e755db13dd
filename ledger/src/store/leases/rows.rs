//! The statements on leases, and what their rows mean.

use accounting::AccountState;
use accounting::lease::Lease;
use schemas::api::Funds;
use schemas::{GatewayId, LeaseId, Timestamp};
use sqlx::FromRow;
use uuid::Uuid;

use super::LeasedGateway;
use crate::store::StoreError;
use crate::store::read::{Money, unreadable};

pub(in crate::store) const NO_FUNDS: &str = "\
    INSERT INTO funds (account_id, usd, tokens, reserved_usd, reserved_tokens, short_usd, short_tokens)
    VALUES ($1, $2, $3, $4, 0, $4, 0) ON CONFLICT (account_id) DO NOTHING";

pub(in crate::store) const POSITION: &str = "SELECT next_offset FROM positions WHERE partition_no = $1";

pub(in crate::store) const FLOOR: &str = "SELECT next_offset FROM lease_floors WHERE partition_no = $1";

pub(in crate::store) const REFOLDING: &str = "\
    SELECT lease_floors.partition_no
    FROM lease_floors LEFT JOIN positions ON positions.partition_no = lease_floors.partition_no
    WHERE COALESCE(positions.next_offset, 0) < lease_floors.next_offset
    ORDER BY lease_floors.partition_no LIMIT 1";

pub(in crate::store) const FLOOR_OF_NEW: &str = "\
    INSERT INTO lease_floors (partition_no, next_offset)
    SELECT CAST($1 AS bigint), CAST($2 AS bigint)
    WHERE NOT EXISTS (SELECT 1 FROM positions WHERE positions.partition_no = $1)
    ON CONFLICT (partition_no) DO UPDATE SET next_offset = excluded.next_offset
    WHERE lease_floors.next_offset < excluded.next_offset";

pub(in crate::store) const LEASES: &str = "\
    SELECT lease_id, seq, granted_usd, granted_tokens, spent_usd, spent_tokens, posted_usd, posted_tokens, closed
    FROM leases WHERE account_id = $1 ORDER BY lease_id";

pub(in crate::store) const UPSERT: &str = "\
    INSERT INTO leases (lease_id, account_id, partition_no, gateway_id, run_id, seq, granted_usd, granted_tokens,
        spent_usd, spent_tokens, posted_usd, posted_tokens, closed, renewed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (lease_id) DO UPDATE SET
        seq = excluded.seq, granted_usd = excluded.granted_usd, granted_tokens = excluded.granted_tokens,
        spent_usd = excluded.spent_usd, spent_tokens = excluded.spent_tokens, closed = excluded.closed,
        renewed_at = excluded.renewed_at
    WHERE leases.account_id = excluded.account_id";

/// A gateway's run has one lease on an account at a time, so its earlier ones that were never used never will be: the message
/// that opened them came too late. Ids of leases are in the order of time (UUIDv7), and a late message that opens an earlier
/// one must not take away the one that is in use.
pub(in crate::store) const FORGET_GHOSTS: &str = "\
    DELETE FROM leases WHERE account_id = $1 AND run_id = $2 AND lease_id < $3 AND NOT closed
        AND spent_usd = $4 AND spent_tokens = 0 AND posted_usd = $4 AND posted_tokens = 0";

pub(in crate::store) const FORGET: &str = "DELETE FROM leases WHERE lease_id = $1 AND account_id = $2";

/// Those that are closed and posted, and those whose partition is folded to where all that was spent on them is in the log.
pub(in crate::store) const FORGET_DONE: &str = "\
    DELETE FROM leases WHERE account_id = $1 AND (
        (closed AND posted_usd >= granted_usd AND posted_tokens >= granted_tokens)
        OR ends_at <= (SELECT next_offset FROM positions WHERE positions.partition_no = leases.partition_no))";

pub(in crate::store) const ENDED_ALREADY: &str = "\
    SELECT DISTINCT leases.account_id FROM leases JOIN positions ON positions.partition_no = leases.partition_no
    WHERE leases.gateway_id = $1 AND leases.ends_at <= positions.next_offset ORDER BY leases.account_id";

/// Where `short` stays as it is, the constraints of `funds` decide whether this may be reserved (I6).
pub(in crate::store) const RESERVE: &str = "\
    UPDATE funds SET reserved_usd = $2, reserved_tokens = $3, short_usd = $4, short_tokens = $5 WHERE account_id = $1";

pub(in crate::store) const SHARES: &str = "SELECT shares FROM request_shares WHERE account_id = $1";

pub(in crate::store) const UPSERT_SHARES: &str = "\
    INSERT INTO request_shares (account_id, shares) VALUES ($1, $2)
    ON CONFLICT (account_id) DO UPDATE SET shares = excluded.shares";

pub(in crate::store) const FORGET_SHARES: &str = "DELETE FROM request_shares WHERE account_id = $1";

pub(in crate::store) const PARTITIONS_OF_RUNS: &str = "\
    SELECT DISTINCT partition_no FROM leases
    WHERE gateway_id = $1 AND run_id < $2 AND ends_at IS NULL ORDER BY partition_no";

/// Closed ones, too: what was spent on them and can't post, or was lost with a gateway's disk, would be reserved for ever.
/// Ids of runs are in the order of time (UUIDv7): a run's message that comes late ends nothing of the run after it. Closed
/// leases end, too: what was spent on them and can't post, or was lost, would be reserved for ever.
pub(in crate::store) const END: &str = "\
    UPDATE leases SET ends_at = $4
    WHERE gateway_id = $1 AND run_id < $2 AND partition_no = $3 AND ends_at IS NULL";

pub(in crate::store) const GATEWAYS: &str = "\
    SELECT gateway_id, lease_id, granted_usd, granted_tokens, posted_usd, posted_tokens, renewed_at
    FROM leases WHERE gateway_id <> $1 ORDER BY gateway_id, lease_id";

// What a reset does before it drops the tables that the log can give again.

pub(in crate::store) const KEEP_FLOORS: &str = "\
    INSERT INTO lease_floors (partition_no, next_offset) SELECT partition_no, next_offset FROM positions WHERE true
    ON CONFLICT (partition_no) DO UPDATE SET next_offset = excluded.next_offset
    WHERE lease_floors.next_offset < excluded.next_offset";

/// The fold counts them again.
pub(in crate::store) const FORGET_POSTED: &str = "UPDATE leases SET posted_usd = $1, posted_tokens = 0";

pub(in crate::store) const REFILL: &str = "\
    UPDATE funds SET usd = $1, tokens = 0,
        reserved_usd = COALESCE((SELECT sum(granted_usd) FROM leases WHERE leases.account_id = funds.account_id), $1),
        reserved_tokens =
            COALESCE((SELECT CAST(sum(granted_tokens) AS bigint) FROM leases WHERE leases.account_id = funds.account_id), 0),
        short_usd = COALESCE((SELECT sum(granted_usd) FROM leases WHERE leases.account_id = funds.account_id), $1),
        short_tokens =
            COALESCE((SELECT CAST(sum(granted_tokens) AS bigint) FROM leases WHERE leases.account_id = funds.account_id), 0)";

/// A row of `leases`.
#[derive(FromRow)]
pub(in crate::store) struct LeaseRow {
    lease_id: Uuid,
    seq: i64,
    granted_usd: Money,
    granted_tokens: i64,
    spent_usd: Money,
    spent_tokens: i64,
    posted_usd: Money,
    posted_tokens: i64,
    closed: bool,
}

impl LeaseRow {
    pub(in crate::store) fn read(&self) -> Result<(LeaseId, Lease), StoreError> {
        let lease = Lease {
            seq: count(self.seq)?,
            granted: funds(self.granted_usd, self.granted_tokens)?,
            spent: funds(self.spent_usd, self.spent_tokens)?,
            posted: funds(self.posted_usd, self.posted_tokens)?,
            closed: self.closed,
        };
        Ok((LeaseId(self.lease_id), lease))
    }
}

/// A row of `funds`.
#[derive(FromRow)]
pub(in crate::store) struct FundsRow {
    usd: Money,
    tokens: i64,
    short_usd: Money,
    short_tokens: i64,
}

/// What an account has, and what of its leases that does not cover.
pub(in crate::store) struct HeldFunds {
    pub(in crate::store) has: Funds,
    pub(in crate::store) short: Funds,
}

impl FundsRow {
    pub(in crate::store) fn read(&self) -> Result<HeldFunds, StoreError> {
        let (has, short) = (funds(self.usd, self.tokens)?, funds(self.short_usd, self.short_tokens)?);
        Ok(HeldFunds { has, short })
    }
}

/// What leases reserve, and what of it may come back.
pub(in crate::store) fn sum_up(leases: &[Lease]) -> Result<(Funds, Funds), StoreError> {
    let sum = |of: fn(&Lease) -> Funds| leases.iter().try_fold(Funds::ZERO, |sum, lease| sum.plus(of(lease)));
    Option::zip(sum(Lease::reserved), sum(Lease::idle)).ok_or_else(beyond)
}

/// What an account has that leases can reserve.
pub(in crate::store) fn has(state: &AccountState) -> Result<Funds, StoreError> {
    Ok(Funds { usd: state.credit().ok_or_else(beyond)?, plan_tokens: state.plan_tokens() })
}

/// No account that the fold made gets there.
pub(in crate::store) fn beyond() -> StoreError {
    unreadable("funds", "beyond exact money")
}

/// A lease of a gateway.
#[derive(FromRow)]
pub(in crate::store) struct GatewayRow {
    gateway_id: Uuid,
    granted_usd: Money,
    granted_tokens: i64,
    posted_usd: Money,
    posted_tokens: i64,
    renewed_at: i64,
}

impl GatewayRow {
    /// One entry a gateway, from its leases, which are neighbours.
    pub(in crate::store) fn sum_up(rows: &[Self]) -> Result<Vec<LeasedGateway>, StoreError> {
        let mut gateways: Vec<LeasedGateway> = Vec::new();
        for row in rows {
            let granted = funds(row.granted_usd, row.granted_tokens)?;
            let reserved = granted.less(funds(row.posted_usd, row.posted_tokens)?);
            let (gateway_id, renewed_at) = (GatewayId(row.gateway_id), Timestamp::from_micros(row.renewed_at));
            match gateways.last_mut().filter(|last| last.gateway_id == gateway_id) {
                Some(last) => {
                    last.leases += 1;
                    last.reserved = last.reserved.plus(reserved).ok_or_else(|| unreadable("leases", "beyond money"))?;
                    last.renewed_at = last.renewed_at.max(renewed_at);
                }
                None => gateways.push(LeasedGateway { gateway_id, leases: 1, reserved, renewed_at }),
            }
        }
        Ok(gateways)
    }
}

pub(super) fn funds(usd: Money, tokens: i64) -> Result<Funds, StoreError> {
    Ok(Funds { usd: usd.0, plan_tokens: count(tokens)? })
}

fn count(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| unreadable("leases", value))
}

/// Plan tokens as databases keep them.
pub(in crate::store) fn tokens(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(in crate::store) fn failed(error: sqlx::Error) -> StoreError {
    StoreError::unavailable("keep a lease", error)
}
