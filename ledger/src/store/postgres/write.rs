//! The one transaction of a batch. What grows with every event is copied; the rows of everything else go in as one array a
//! column.

use accounting::Amount;
use rust_decimal::Decimal;
use schemas::{Timestamp, Usd};
use serde::Serialize;
use sqlx::error::ErrorKind;
use sqlx::{PgConnection, PgPool, query};
use uuid::Uuid;

use super::copy::{Rows, copy, trillionths};
use super::{invoices, leases, stalled};
use crate::store::commit::{PostingRow, TransferRow};
use crate::store::read::{NO_RENEWAL, RENEWAL, signed};
use crate::store::{Commit, StoreError};

pub(super) const DOING: &str = "commit a batch";

/// Moves the position, or makes the partition's first one, only where it is at `$2` with the chain `$5`. Holds the row until
/// the end of the transaction: another committer of this partition waits here, and then finds it moved.
const MOVE: &str = "\
    INSERT INTO positions (partition_no, next_offset, chain, last_record)
    SELECT $1, $3, $4, $6 WHERE $2 = 0 OR EXISTS (SELECT 1 FROM positions WHERE partition_no = $1)
    ON CONFLICT (partition_no) DO UPDATE SET next_offset = excluded.next_offset, chain = excluded.chain,
        last_record = excluded.last_record
    WHERE positions.next_offset = $2 AND positions.chain = $5";

const ACCOUNTS: &str = "\
    INSERT INTO accounts
        (account_id, partition_no, status, plan, opened_at, lots_opened, debt_usd, balance_usd, version_offset, state)
    SELECT account_id, $1, status, plan, opened_at, lots_opened, debt_usd, balance_usd, version_offset, state
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::numeric[], $8::numeric[],
        $9::bigint[], $10::text[])
        AS row (account_id, status, plan, opened_at, lots_opened, debt_usd, balance_usd, version_offset, state)
    ON CONFLICT (account_id) DO UPDATE SET
        status = excluded.status, plan = excluded.plan, lots_opened = excluded.lots_opened,
        debt_usd = excluded.debt_usd, balance_usd = excluded.balance_usd, version_offset = excluded.version_offset,
        state = excluded.state";

const LOTS: &str = "\
    INSERT INTO lots (account_id, lot_id, source, amount_usd, remaining_usd, priority, sequence, expires_at)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::numeric[], $5::numeric[], $6::smallint[], $7::bigint[],
        $8::bigint[])
    ON CONFLICT (account_id, lot_id) DO UPDATE SET
        source = excluded.source, amount_usd = excluded.amount_usd, remaining_usd = excluded.remaining_usd,
        priority = excluded.priority, sequence = excluded.sequence, expires_at = excluded.expires_at";

const EMPTIED_LOTS: &str = "\
    DELETE FROM lots USING unnest($1::uuid[], $2::uuid[]) AS row (account_id, lot_id)
    WHERE lots.account_id = row.account_id AND lots.lot_id = row.lot_id";

const KEYS: &str = "\
    INSERT INTO keys (account_id, key_id, hash, name, hint)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[])
    ON CONFLICT (account_id, key_id) DO UPDATE SET hash = excluded.hash, name = excluded.name, hint = excluded.hint";

const DROPPED_KEYS: &str = "\
    DELETE FROM keys USING unnest($1::uuid[], $2::uuid[]) AS row (account_id, key_id)
    WHERE keys.account_id = row.account_id AND keys.key_id = row.key_id";

const POSTINGS: &str = "\
    COPY postings (event_id, account_id, partition_no, log_offset, event_type, event_time, amount_usd, balance_usd, detail,
        chain_tag, fact_tag)
    FROM STDIN (FORMAT binary)";

const TRANSFERS: &str = "\
    COPY transfers (partition_no, log_offset, event_id, idx, debit, credit, commodity, amount, code, lot_id)
    FROM STDIN (FORMAT binary)";

const QUARANTINE: &str = "\
    INSERT INTO quarantine (partition_no, log_offset, event_id, account_id, reason, detail, record)
    SELECT $1, * FROM unnest($2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bytea[])";

pub(super) async fn commit(pool: &PgPool, commit: &Commit) -> Result<(), StoreError> {
    let outcome = write(pool, commit).await;
    if let Err(StoreError::Unavailable { .. }) = &outcome {
        stalled::end(pool).await;
    }
    outcome
}

async fn write(pool: &PgPool, commit: &Commit) -> Result<(), StoreError> {
    let mut transaction = pool.begin().await.map_err(refused)?;
    query(stalled::WAIT).execute(&mut *transaction).await.map_err(refused)?;
    let moved = query(MOVE)
        .bind(i64::from(commit.partition.0))
        .bind(signed(commit.from))
        .bind(signed(commit.next))
        .bind(&commit.chain.0[..])
        .bind(&commit.from_chain.0[..])
        .bind(&commit.last_record.0[..])
        .execute(&mut *transaction)
        .await
        .map_err(refused)?;
    if moved.rows_affected() != 1 {
        return Err(StoreError::Moved);
    }
    // First, because here it shows whether an event was posted before.
    postings(&mut transaction, commit).await?;
    transfers(&mut transaction, commit).await?;
    accounts(&mut transaction, commit).await?;
    lots(&mut transaction, commit).await?;
    keys(&mut transaction, commit).await?;
    renewals(&mut transaction, commit).await?;
    quarantine(&mut transaction, commit).await?;
    invoices::write(&mut transaction, commit).await.map_err(refused)?;
    leases::write(&mut transaction, commit).await?;
    transaction.commit().await.map_err(refused)
}

async fn accounts(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    if commit.accounts.is_empty() {
        return Ok(());
    }
    let plans = commit.accounts.iter().map(|(state, _)| text(&state.plan)).collect::<Result<Vec<_>, _>>()?;
    let documents = commit.accounts.iter().map(|(state, _)| document(state)).collect::<Result<Vec<_>, _>>()?;
    let column = |of: fn(&accounting::AccountState) -> i64| -> Vec<i64> {
        commit.accounts.iter().map(|(state, _)| of(state)).collect()
    };
    let upsert = query(ACCOUNTS)
        .bind(i64::from(commit.partition.0))
        .bind(commit.accounts.iter().map(|(state, _)| state.id.0).collect::<Vec<Uuid>>())
        .bind(commit.accounts.iter().map(|(state, _)| state.status().as_str()).collect::<Vec<_>>())
        .bind(plans)
        .bind(column(|state| state.opened_at.as_micros()))
        .bind(column(|state| count(state.lots_opened)))
        .bind(decimals(commit.accounts.iter().map(|(state, _)| state.debt)))
        .bind(decimals(commit.accounts.iter().map(|(_, balance)| *balance)))
        .bind(column(|state| signed(state.version)))
        .bind(documents);
    upsert.execute(connection).await.map(drop).map_err(refused)
}

async fn lots(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    if !commit.lots.is_empty() {
        let upsert = query(LOTS)
            .bind(commit.lots.iter().map(|(account, _)| account.0).collect::<Vec<Uuid>>())
            .bind(commit.lots.iter().map(|(_, lot)| lot.id.0).collect::<Vec<Uuid>>())
            .bind(commit.lots.iter().map(|(_, lot)| lot.source.as_str()).collect::<Vec<_>>())
            .bind(decimals(commit.lots.iter().map(|(_, lot)| lot.amount)))
            .bind(decimals(commit.lots.iter().map(|(_, lot)| lot.remaining)))
            .bind(commit.lots.iter().map(|(_, lot)| i16::from(lot.priority)).collect::<Vec<_>>())
            .bind(commit.lots.iter().map(|(_, lot)| count(lot.sequence)).collect::<Vec<_>>())
            .bind(commit.lots.iter().map(|(_, lot)| lot.expires_at.map(Timestamp::as_micros)).collect::<Vec<_>>());
        upsert.execute(&mut *connection).await.map_err(refused)?;
    }
    if !commit.emptied_lots.is_empty() {
        let delete = query(EMPTIED_LOTS)
            .bind(commit.emptied_lots.iter().map(|(account, _)| account.0).collect::<Vec<Uuid>>())
            .bind(commit.emptied_lots.iter().map(|(_, lot)| lot.0).collect::<Vec<Uuid>>());
        delete.execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

async fn keys(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    if !commit.keys.is_empty() {
        let upsert = query(KEYS)
            .bind(commit.keys.iter().map(|(account, _, _)| account.0).collect::<Vec<Uuid>>())
            .bind(commit.keys.iter().map(|(_, id, _)| id.0).collect::<Vec<Uuid>>())
            .bind(commit.keys.iter().map(|(_, _, key)| &key.hash.0[..]).collect::<Vec<_>>())
            .bind(commit.keys.iter().map(|(_, _, key)| key.name.as_str()).collect::<Vec<_>>())
            .bind(commit.keys.iter().map(|(_, _, key)| key.hint.as_str()).collect::<Vec<_>>());
        upsert.execute(&mut *connection).await.map_err(refused)?;
    }
    if !commit.dropped_keys.is_empty() {
        let delete = query(DROPPED_KEYS)
            .bind(commit.dropped_keys.iter().map(|(account, _)| account.0).collect::<Vec<Uuid>>())
            .bind(commit.dropped_keys.iter().map(|(_, key)| key.0).collect::<Vec<Uuid>>());
        delete.execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

async fn renewals(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    for (account, due) in &commit.renewals {
        let renewal = match due {
            Some(at) => query(RENEWAL).bind(account.0).bind(at.as_micros()),
            None => query(NO_RENEWAL).bind(account.0),
        };
        renewal.execute(&mut *connection).await.map_err(refused)?;
    }
    Ok(())
}

/// An account's rows one after another: its entries in the index of statements are neighbours, and so cost a tenth.
async fn postings(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    if commit.postings.is_empty() {
        return Ok(());
    }
    let partition = i64::from(commit.partition.0);
    let mut rows: Vec<&PostingRow> = commit.postings.iter().collect();
    rows.sort_by_key(|row| (row.account_id, row.offset));
    let write = |to: &mut Rows, row: &PostingRow| {
        to.row(11);
        to.uuid(row.event_id.0);
        to.uuid(row.account_id.0);
        to.bigint(partition);
        to.bigint(signed(row.offset));
        to.text(row.event_type)?;
        to.bigint(row.time.as_micros());
        to.money(row.amount);
        to.money(row.balance);
        match &row.detail {
            Some(detail) => to.json(detail)?,
            None => to.null(),
        }
        to.bigint(row.chain_tag);
        to.bigint(row.fact_tag.0.into());
        Ok(())
    };
    copy(connection, POSTINGS, rows.into_iter(), write).await
}

async fn transfers(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    if commit.transfers.is_empty() {
        return Ok(());
    }
    let partition = i64::from(commit.partition.0);
    let write = |to: &mut Rows, row: &TransferRow| {
        to.row(10);
        to.bigint(partition);
        to.bigint(signed(row.offset));
        to.uuid(row.event_id.0);
        to.integer(i32::try_from(row.index).unwrap_or(i32::MAX));
        to.display(&row.transfer.debit)?;
        to.display(&row.transfer.credit)?;
        to.text(row.transfer.amount.commodity().as_str())?;
        to.numeric(match row.transfer.amount {
            Amount::Usd(amount) => trillionths(amount),
            Amount::PlanTokens(tokens) => i128::from(tokens) * 1_000_000_000_000,
        });
        to.text(row.transfer.code.as_str())?;
        match row.transfer.lot {
            Some(lot) => to.uuid(lot.0),
            None => to.null(),
        }
        Ok(())
    };
    copy(connection, TRANSFERS, commit.transfers.iter(), write).await
}

async fn quarantine(connection: &mut PgConnection, commit: &Commit) -> Result<(), StoreError> {
    let rows = &commit.quarantined;
    if rows.is_empty() {
        return Ok(());
    }
    let insert = query(QUARANTINE)
        .bind(i64::from(commit.partition.0))
        .bind(rows.iter().map(|row| signed(row.offset)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.event.map(|(event, _)| event.0)).collect::<Vec<Option<Uuid>>>())
        .bind(rows.iter().map(|row| row.event.map(|(_, account)| account.0)).collect::<Vec<Option<Uuid>>>())
        .bind(rows.iter().map(|row| row.reason).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.detail.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| &row.record[..]).collect::<Vec<_>>());
    insert.execute(connection).await.map(drop).map_err(refused)
}

pub(super) fn refused(error: sqlx::Error) -> StoreError {
    let posted_twice = error
        .as_database_error()
        .is_some_and(|error| error.kind() == ErrorKind::UniqueViolation && error.constraint() == Some("postings_once"));
    if posted_twice { StoreError::AlreadyPosted } else { StoreError::unavailable(DOING, error) }
}

fn decimals(amounts: impl Iterator<Item = Usd>) -> Vec<Decimal> {
    amounts.map(Usd::as_decimal).collect()
}

/// Counts of things that happened stay far from a signed integer's end.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn document(state: &accounting::AccountState) -> Result<String, StoreError> {
    state.to_document().map_err(|error| StoreError::unavailable(DOING, error))
}

fn text(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::unavailable(DOING, error))
}
