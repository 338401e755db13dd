//! Leases, in PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};

use accounting::lease::{Lease, Pool, Refused, due, free, price, renew, set_aside, tokens_count};
use accounting::request_shares::RequestShares;
use rust_decimal::Decimal;
use schemas::api::{CloseLeases, Funds, LeaseRequest, ShareGrant, ShareRequest};
use schemas::{AccountId, Event, EventId, GatewayId, LeaseId, Offset, PartitionId, RunId, Timestamp, Usd};
use sqlx::{PgConnection, Postgres, query, query_as, query_scalar};
use uuid::Uuid;

use super::PostgresStore;
use super::write::refused;
use crate::sink::view;
use crate::store::leases::{
    self, ChargeRow, ChargeStore, FundsRow, GatewayRow, HeldFunds, LeaseRow, LeaseStore, Leased, LeasedGateway,
    PlanCharge, Repeat, RepeatRow, RepeatStore, SetAside, charge_store, failed, lease_store, repeat_store,
};
use crate::store::read::{self, AccountRow, Money, signed};
use crate::store::{Commit, StoreError, StoredAccount};

/// Locks the funds of those of the batch's accounts that ever had a lease, and of those whose leases end with it. In one
/// order, and before any statement that reads leases: what it reads is then newer than whatever held the lock.
const LOCK: &str = "\
    SELECT account_id FROM funds WHERE account_id IN (
        SELECT unnest($1::uuid[]) UNION
        SELECT account_id FROM leases WHERE partition_no = $2 AND ends_at <= $3)
    ORDER BY account_id FOR UPDATE";

const DRAW: &str = "\
    UPDATE leases SET
        posted_usd = posted_usd + LEAST(draw.usd, GREATEST(granted_usd - posted_usd, 0)),
        posted_tokens = posted_tokens + LEAST(draw.tokens, GREATEST(granted_tokens - posted_tokens, 0))
    FROM unnest($1::uuid[], $2::uuid[], $3::numeric[], $4::bigint[]) AS draw (lease_id, account_id, usd, tokens)
    WHERE leases.lease_id = draw.lease_id AND leases.account_id = draw.account_id";

/// Where their leases are there, and once.
const NOTE: &str = "\
    INSERT INTO repeated_charges (event_id, record_tag, lease_id, account_id, usd, tokens, settled)
    SELECT event_id, record_tag, lease_id, account_id, usd, tokens, false
    FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::numeric[], $6::bigint[])
        AS repeat (event_id, record_tag, lease_id, account_id, usd, tokens)
    WHERE EXISTS (
        SELECT 1 FROM leases WHERE leases.lease_id = repeat.lease_id AND leases.account_id = repeat.account_id)
    ON CONFLICT (event_id, record_tag) DO NOTHING";

const FORGET_DONE: &str = "\
    DELETE FROM leases WHERE account_id = ANY($1) AND (
        (closed AND posted_usd >= granted_usd AND posted_tokens >= granted_tokens) OR ends_at <= $2)";

/// What accounts have now, and what their leases reserve of it.
const REFRESH: &str = "\
    UPDATE funds SET
        usd = fresh.usd, tokens = fresh.tokens, reserved_usd = fresh.reserved_usd,
        reserved_tokens = fresh.reserved_tokens, short_usd = GREATEST(fresh.reserved_usd - fresh.usd, 0),
        short_tokens = GREATEST(fresh.reserved_tokens - fresh.tokens, 0)
    FROM (
        SELECT account_id, COALESCE(has.usd, funds.usd) AS usd, COALESCE(has.tokens, funds.tokens) AS tokens,
            COALESCE(reserved.usd, 0) AS reserved_usd, COALESCE(reserved.tokens, 0) AS reserved_tokens
        FROM funds
        LEFT JOIN unnest($2::uuid[], $3::numeric[], $4::bigint[]) AS has (account_id, usd, tokens) USING (account_id)
        LEFT JOIN (
            SELECT account_id, sum(GREATEST(granted_usd - posted_usd, 0)) AS usd,
                sum(GREATEST(granted_tokens - posted_tokens, 0))::bigint AS tokens
            FROM leases WHERE account_id = ANY($1) GROUP BY account_id
        ) AS reserved USING (account_id)
        WHERE account_id = ANY($1)
    ) AS fresh
    WHERE funds.account_id = fresh.account_id";

/// What a batch changes of leases, in its transaction.
pub(super) async fn write(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    if !commit.repeats.is_empty() {
        let note = query(NOTE)
            .bind(commit.repeats.iter().map(|repeat| repeat.event_id.0).collect::<Vec<Uuid>>())
            .bind(commit.repeats.iter().map(|repeat| repeat.record_tag).collect::<Vec<i64>>())
            .bind(commit.repeats.iter().map(|repeat| repeat.draw.lease_id.0).collect::<Vec<Uuid>>())
            .bind(commit.repeats.iter().map(|repeat| repeat.draw.account_id.0).collect::<Vec<Uuid>>())
            .bind(commit.repeats.iter().map(|repeat| repeat.draw.funds.usd.as_decimal()).collect::<Vec<Decimal>>())
            .bind(
                commit.repeats.iter().map(|repeat| leases::tokens(repeat.draw.funds.plan_tokens)).collect::<Vec<i64>>(),
            );
        note.execute(&mut *connection).await.map_err(refused)?;
    }
    let lock = query_scalar(LOCK)
        .bind(commit.accounts.iter().map(|(state, _)| state.id.0).collect::<Vec<Uuid>>())
        .bind(i64::from(commit.partition.0))
        .bind(signed(commit.next));
    let locked: Vec<Uuid> = lock.fetch_all(&mut *connection).await.map_err(refused)?;
    if locked.is_empty() {
        return Ok(());
    }
    if !commit.draws.is_empty() {
        let draw = query(DRAW)
            .bind(commit.draws.iter().map(|draw| draw.lease_id.0).collect::<Vec<Uuid>>())
            .bind(commit.draws.iter().map(|draw| draw.account_id.0).collect::<Vec<Uuid>>())
            .bind(commit.draws.iter().map(|draw| draw.funds.usd.as_decimal()).collect::<Vec<Decimal>>())
            .bind(commit.draws.iter().map(|draw| leases::tokens(draw.funds.plan_tokens)).collect::<Vec<i64>>());
        draw.execute(&mut *connection).await.map_err(refused)?;
    }
    let forget = query(FORGET_DONE).bind(&locked).bind(signed(commit.next));
    forget.execute(&mut *connection).await.map_err(refused)?;
    let among = locked.iter().copied().collect::<BTreeSet<Uuid>>();
    let changed = commit.accounts.iter().map(|(state, _)| state).filter(|state| among.contains(&state.id.0));
    let has = changed.map(|state| Ok((state.id.0, leases::has(state)?))).collect::<Result<Vec<_>, StoreError>>()?;
    let refresh = query(REFRESH)
        .bind(&locked)
        .bind(has.iter().map(|(account, _)| *account).collect::<Vec<Uuid>>())
        .bind(has.iter().map(|(_, has)| has.usd.as_decimal()).collect::<Vec<Decimal>>())
        .bind(has.iter().map(|(_, has)| leases::tokens(has.plan_tokens)).collect::<Vec<i64>>());
    refresh.execute(connection).await.map(drop).map_err(refused)
}

// Whoever waits for a ledger that stands still gives up as a commit does: each wait has a connection, and there are few.
lease_store!(PostgresStore, Postgres, pool, "BEGIN; SET LOCAL lock_timeout = '5s'", " FOR UPDATE", " FOR SHARE");
charge_store!(PostgresStore, pool, "BEGIN; SET LOCAL lock_timeout = '5s'");
repeat_store!(PostgresStore, pool, "BEGIN; SET LOCAL lock_timeout = '5s'");

/// Waits for every commit that is under way: a partition that has no position yet has no row to lock.
const POSITIONS_LOCKED: &str = "LOCK TABLE positions IN SHARE ROW EXCLUSIVE MODE";
