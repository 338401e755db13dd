//! The one transaction of a batch. Rows go in as one JSON array a table, so every statement is the same whatever their
//! number; ids and hashes are hexadecimal there.

use accounting::Amount;
use schemas::Usd;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::error::ErrorKind;
use sqlx::{Sqlite, SqlitePool, Transaction, query};

use super::{invoices, leases};
use crate::store::commit::{PostingRow, QuarantineRow, TransferRow};
use crate::store::read::{NO_RENEWAL, RENEWAL, signed};
use crate::store::{Commit, StoreError};

const DOING: &str = "commit a batch";

/// Moves the position, or makes the partition's first one, only where it is at `$2` with the chain `$5`.
const MOVE: &str = "\
    INSERT INTO positions (partition_no, next_offset, chain, last_record)
    SELECT $1, $3, $4, $6 WHERE $2 = 0 OR EXISTS (SELECT 1 FROM positions WHERE partition_no = $1)
    ON CONFLICT (partition_no) DO UPDATE SET next_offset = excluded.next_offset, chain = excluded.chain,
        last_record = excluded.last_record
    WHERE positions.next_offset = $2 AND positions.chain = $5";

const ACCOUNTS: &str = "\
    INSERT INTO accounts
        (account_id, partition_no, status, plan, opened_at, lots_opened, debt_usd, balance_usd, version_offset, state)
    SELECT unhex(value ->> 'account_id'), value ->> 'partition_no', value ->> 'status', value ->> 'plan',
        value ->> 'opened_at', value ->> 'lots_opened', value ->> 'debt_usd', value ->> 'balance_usd',
        value ->> 'version_offset', value ->> 'state'
    FROM json_each($1) WHERE true
    ON CONFLICT (account_id) DO UPDATE SET
        status = excluded.status, plan = excluded.plan, lots_opened = excluded.lots_opened,
        debt_usd = excluded.debt_usd, balance_usd = excluded.balance_usd, version_offset = excluded.version_offset,
        state = excluded.state";

const LOTS: &str = "\
    INSERT INTO lots (account_id, lot_id, source, amount_usd, remaining_usd, priority, sequence, expires_at)
    SELECT unhex(value ->> 'account_id'), unhex(value ->> 'lot_id'), value ->> 'source', value ->> 'amount_usd',
        value ->> 'remaining_usd', value ->> 'priority', value ->> 'sequence', value ->> 'expires_at'
    FROM json_each($1) WHERE true
    ON CONFLICT (account_id, lot_id) DO UPDATE SET
        source = excluded.source, amount_usd = excluded.amount_usd, remaining_usd = excluded.remaining_usd,
        priority = excluded.priority, sequence = excluded.sequence, expires_at = excluded.expires_at";

const EMPTIED_LOTS: &str = "\
    DELETE FROM lots WHERE (account_id, lot_id) IN (
        SELECT unhex(value ->> 'account_id'), unhex(value ->> 'lot_id') FROM json_each($1))";

const KEYS: &str = "\
    INSERT INTO keys (account_id, key_id, hash, name, hint)
    SELECT unhex(value ->> 'account_id'), unhex(value ->> 'key_id'), unhex(value ->> 'hash'), value ->> 'name',
        value ->> 'hint'
    FROM json_each($1) WHERE true
    ON CONFLICT (account_id, key_id) DO UPDATE SET hash = excluded.hash, name = excluded.name, hint = excluded.hint";

const DROPPED_KEYS: &str = "\
    DELETE FROM keys WHERE (account_id, key_id) IN (
        SELECT unhex(value ->> 'account_id'), unhex(value ->> 'key_id') FROM json_each($1))";

const POSTINGS: &str = "\
    INSERT INTO postings
        (event_id, account_id, partition_no, log_offset, event_type, event_time, amount_usd, balance_usd, detail,
        chain_tag, fact_tag)
    SELECT unhex(value ->> 'event_id'), unhex(value ->> 'account_id'), value ->> 'partition_no',
        value ->> 'log_offset', value ->> 'event_type', value ->> 'event_time', value ->> 'amount_usd',
        value ->> 'balance_usd', value ->> 'detail', value ->> 'chain_tag',
        value ->> 'fact_tag'
    FROM json_each($1)";

const TRANSFERS: &str = "\
    INSERT INTO transfers (partition_no, log_offset, event_id, idx, debit, credit, commodity, amount, code, lot_id)
    SELECT value ->> 'partition_no', value ->> 'log_offset', unhex(value ->> 'event_id'), value ->> 'idx', value ->> 'debit', value ->> 'credit',
        value ->> 'commodity', value ->> 'amount', value ->> 'code', unhex(value ->> 'lot_id')
    FROM json_each($1)";

const QUARANTINE: &str = "\
    INSERT INTO quarantine (partition_no, log_offset, event_id, account_id, reason, detail, record)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

pub(super) async fn commit(pool: &SqlitePool, commit: &Commit) -> Result<(), StoreError> {
    let statements = statements(commit)?;
    let partition = i64::from(commit.partition.0);
    // A transaction that becomes a writer only at its first write can fail then; this one waits for its turn at once.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(refused)?;
    let moved = query(MOVE)
        .bind(partition)
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
    for (statement, rows) in statements {
        query(statement).bind(rows).execute(&mut *transaction).await.map_err(refused)?;
    }
    for (account, due) in &commit.renewals {
        let renewal = match due {
            Some(at) => query(RENEWAL).bind(account.0).bind(at.as_micros()),
            None => query(NO_RENEWAL).bind(account.0),
        };
        renewal.execute(&mut *transaction).await.map_err(refused)?;
    }
    for row in &commit.quarantined {
        quarantine(&mut transaction, partition, row).await.map_err(refused)?;
    }
    invoices::write(&mut transaction, commit).await.map_err(refused)?;
    leases::write(&mut transaction, commit).await?;
    transaction.commit().await.map_err(refused)
}

async fn quarantine(
    transaction: &mut Transaction<'_, Sqlite>,
    partition: i64,
    row: &QuarantineRow,
) -> Result<(), sqlx::Error> {
    let insert = query(QUARANTINE)
        .bind(partition)
        .bind(signed(row.offset))
        .bind(row.event.map(|(event, _)| event.0))
        .bind(row.event.map(|(_, account)| account.0))
        .bind(row.reason)
        .bind(&row.detail)
        .bind(&row.record[..]);
    insert.execute(&mut **transaction).await.map(drop)
}

fn refused(error: sqlx::Error) -> StoreError {
    let posted_twice = error.as_database_error().is_some_and(|error| {
        error.kind() == ErrorKind::UniqueViolation && error.message().contains("postings.event_id")
    });
    if posted_twice { StoreError::AlreadyPosted } else { StoreError::unavailable(DOING, error) }
}

/// A statement and its rows for every table that the batch touches.
fn statements(commit: &Commit) -> Result<Vec<(&'static str, String)>, StoreError> {
    let partition = commit.partition.0;
    let account = |(state, balance): &(accounting::AccountState, Usd)| {
        Ok(json!({
            "account_id": state.id.0.simple(), "partition_no": partition, "status": state.status().as_str(),
            "plan": text(&state.plan)?, "opened_at": state.opened_at.as_micros(), "lots_opened": state.lots_opened,
            "debt_usd": pico(state.debt)?, "balance_usd": pico(*balance)?, "version_offset": state.version.0,
            "state": state.to_document().map_err(|error| StoreError::unavailable(DOING, error))?,
        }))
    };
    let lot = |(account, lot): &(schemas::AccountId, accounting::Lot)| {
        Ok(json!({
            "account_id": account.0.simple(), "lot_id": lot.id.0.simple(), "source": lot.source.as_str(),
            "amount_usd": pico(lot.amount)?, "remaining_usd": pico(lot.remaining)?, "priority": lot.priority,
            "sequence": lot.sequence, "expires_at": lot.expires_at.map(schemas::Timestamp::as_micros),
        }))
    };
    let key = |(account, id, key): &(schemas::AccountId, schemas::KeyId, accounting::Key)| {
        Ok(json!({
            "account_id": account.0.simple(), "key_id": id.0.simple(), "hash": key.hash.to_string(),
            "name": key.name, "hint": key.hint,
        }))
    };
    let rows = [
        (ACCOUNTS, array(&commit.accounts, account)?),
        (LOTS, array(&commit.lots, lot)?),
        (
            EMPTIED_LOTS,
            array(&commit.emptied_lots, |(account, lot)| {
                Ok(json!({"account_id": account.0.simple(), "lot_id": lot.0.simple()}))
            })?,
        ),
        (KEYS, array(&commit.keys, key)?),
        (
            DROPPED_KEYS,
            array(&commit.dropped_keys, |(account, key)| {
                Ok(json!({"account_id": account.0.simple(), "key_id": key.0.simple()}))
            })?,
        ),
        (POSTINGS, array(&commit.postings, |row| posting(partition, row))?),
        (TRANSFERS, array(&commit.transfers, |row| transfer(partition, row))?),
    ];
    Ok(rows.into_iter().filter_map(|(statement, rows)| Some((statement, rows?))).collect())
}

fn posting(partition: u32, row: &PostingRow) -> Result<Value, StoreError> {
    Ok(json!({
        "event_id": row.event_id.0.simple(), "account_id": row.account_id.0.simple(), "partition_no": partition,
        "log_offset": row.offset.0, "event_type": row.event_type, "event_time": row.time.as_micros(),
        "amount_usd": pico(row.amount)?, "balance_usd": pico(row.balance)?,
        "detail": row.detail.as_ref().map(text).transpose()?, "chain_tag": row.chain_tag,
        "fact_tag": row.fact_tag.0,
    }))
}

fn transfer(partition: u32, row: &TransferRow) -> Result<Value, StoreError> {
    let transfer = &row.transfer;
    Ok(json!({
        "partition_no": partition, "log_offset": row.offset.0, "event_id": row.event_id.0.simple(), "idx": row.index, "debit": transfer.debit.to_string(),
        "credit": transfer.credit.to_string(), "commodity": transfer.amount.commodity().as_str(),
        "amount": amount(transfer.amount)?, "code": transfer.code.as_str(), "lot_id": transfer.lot.map(|lot| lot.0.simple()),
    }))
}

/// Rows as a JSON array; none where there are none.
fn array<T>(rows: &[T], row: impl Fn(&T) -> Result<Value, StoreError>) -> Result<Option<String>, StoreError> {
    if rows.is_empty() {
        return Ok(None);
    }
    let rows = rows.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    text(&rows).map(Some)
}

/// Money as a count of 10⁻¹² USD, plan tokens as they are.
fn amount(amount: Amount) -> Result<i64, StoreError> {
    match amount {
        Amount::Usd(amount) => pico(amount),
        Amount::PlanTokens(tokens) => i64::try_from(tokens).map_err(|_| {
            StoreError::unavailable(DOING, format!("{tokens} plan tokens are beyond what it keeps exactly"))
        }),
    }
}

fn pico(amount: Usd) -> Result<i64, StoreError> {
    let beyond = || StoreError::unavailable(DOING, format!("{amount} USD is beyond what it keeps exactly"));
    amount.to_pico().ok_or_else(beyond)
}

fn text(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::unavailable(DOING, error))
}
