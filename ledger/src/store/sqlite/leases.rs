//! Leases, in the embedded store.

use std::collections::BTreeMap;

use accounting::AccountState;
use accounting::lease::{Lease, Pool, Refused, due, free, price, renew, set_aside, tokens_count};
use accounting::request_shares::RequestShares;
use schemas::api::{CloseLeases, Funds, LeaseRequest, ShareGrant, ShareRequest};
use schemas::{AccountId, Event, EventId, GatewayId, LeaseId, Offset, PartitionId, RunId, Timestamp, Usd};
use sqlx::{Sqlite, SqliteConnection, query, query_as, query_scalar};
use uuid::Uuid;

use super::{SqliteStore, hex_array};
use crate::sink::view;
use crate::store::leases::{
    self, ChargeRow, ChargeStore, FundsRow, GatewayRow, HeldFunds, LeaseRow, LeaseStore, Leased, LeasedGateway,
    PlanCharge, Repeat, RepeatRow, RepeatStore, SetAside, charge_store, failed, lease_store, repeat_store,
};
use crate::store::read::{self, AccountRow, Money, signed};
use crate::store::{Commit, StoreError, StoredAccount};

/// Those of the batch's accounts that ever had a lease, and those whose leases end with it.
const TOUCHED: &str = "\
    SELECT account_id FROM funds WHERE account_id IN (
        SELECT unhex(value) FROM json_each($1) UNION
        SELECT account_id FROM leases WHERE partition_no = $2 AND ends_at <= $3)
    ORDER BY account_id";

const DRAW: &str = "\
    UPDATE leases SET
        posted_usd = posted_usd + min($3, max(granted_usd - posted_usd, 0)),
        posted_tokens = posted_tokens + min($4, max(granted_tokens - posted_tokens, 0))
    WHERE lease_id = $1 AND account_id = $2";

/// Where the lease is there, and once.
const NOTE: &str = "\
    INSERT INTO repeated_charges (event_id, record_tag, lease_id, account_id, usd, tokens, settled)
    SELECT $1, $2, lease_id, account_id, $5, $6, 0 FROM leases WHERE lease_id = $3 AND account_id = $4
    ON CONFLICT (event_id, record_tag) DO NOTHING";

const HAS: &str = "\
    UPDATE funds SET usd = $2, tokens = $3, short_usd = max(reserved_usd - $2, 0), short_tokens = max(reserved_tokens - $3, 0)
    WHERE account_id = $1";

/// What a batch changes of leases, in its transaction. One file has few accounts at a time: a row at a time will do.
pub(super) async fn write(connection: &mut SqliteConnection, commit: &Commit) -> Result<(), StoreError> {
    for Repeat { event_id, record_tag, draw } in &commit.repeats {
        let note = query(NOTE)
            .bind(event_id.0)
            .bind(record_tag)
            .bind(draw.lease_id.0)
            .bind(draw.account_id.0)
            .bind(Money(draw.funds.usd))
            .bind(leases::tokens(draw.funds.plan_tokens));
        note.execute(&mut *connection).await.map_err(failed)?;
    }
    let touched = query_scalar(TOUCHED)
        .bind(hex_array(commit.accounts.iter().map(|(state, _)| state.id.0)))
        .bind(i64::from(commit.partition.0))
        .bind(signed(commit.next));
    let touched: Vec<Uuid> = touched.fetch_all(&mut *connection).await.map_err(failed)?;
    if touched.is_empty() {
        return Ok(());
    }
    for draw in &commit.draws {
        let draw = query(DRAW)
            .bind(draw.lease_id.0)
            .bind(draw.account_id.0)
            .bind(Money(draw.funds.usd))
            .bind(leases::tokens(draw.funds.plan_tokens));
        draw.execute(&mut *connection).await.map_err(failed)?;
    }
    let states: BTreeMap<Uuid, &AccountState> = commit.accounts.iter().map(|(state, _)| (state.id.0, state)).collect();
    for account in touched {
        if let Some(state) = states.get(&account) {
            let has = leases::has(state)?;
            let update = query(HAS).bind(account).bind(Money(has.usd)).bind(leases::tokens(has.plan_tokens));
            update.execute(&mut *connection).await.map_err(failed)?;
        }
        if let Some(funds) = locked(connection, AccountId(account)).await? {
            release(connection, AccountId(account), funds.has).await?;
        }
    }
    Ok(())
}

lease_store!(SqliteStore, Sqlite, writer, "BEGIN IMMEDIATE", "", "");
charge_store!(SqliteStore, writer, "BEGIN IMMEDIATE");
repeat_store!(SqliteStore, writer, "BEGIN IMMEDIATE");

/// Whoever writes has the file for itself.
const POSITIONS_LOCKED: &str = "SELECT 1";
