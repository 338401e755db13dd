//! The physical limit beside it: the rows that the ledger wrote, through plain `COPY` into the same tables, indexes and
//! constraints included. No log, no fold, no balances; one stream a partition, in the order in which the ledger wrote.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use ledger::{PostgresStore, Store};
use sqlx::postgres::PgPoolCopyExt as _;
use sqlx::{Connection as _, PgConnection, PgPool, query_scalar};

use crate::cpu::Used;

/// What grows with the log, and which of it is usage.
const TABLES: [(&str, &str); 2] = [("postings", "event_type = 'usage.recorded'"), ("transfers", "code LIKE 'usage%'")];

/// Copies what usage led to in `from` into a new database, and tells how long the writing took, and of what.
pub(crate) async fn copy(
    from: &PgPool,
    to: &tests::postgres::Database,
    partitions: u32,
) -> anyhow::Result<(Duration, Used)> {
    PostgresStore::open(to.url()).await?.close().await;
    let mut streams = Vec::new();
    for partition in 0..partitions {
        let mut parts = Vec::new();
        for (table, is_usage) in TABLES {
            let columns = "SELECT string_agg(quote_ident(column_name::text), ', ' ORDER BY ordinal_position) \
                FROM information_schema.columns WHERE table_name = $1";
            let columns: String = query_scalar(columns).bind(table).fetch_one(from).await?;
            let rows = format!("SELECT {columns} FROM {table} WHERE partition_no = {partition} AND {is_usage}");
            let out = format!("COPY ({rows}) TO STDOUT (FORMAT binary)");
            let rows: Vec<Bytes> = from.copy_out_raw(&out).await?.try_collect().await?;
            parts.push((format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)"), rows));
        }
        streams.push((PgConnection::connect(to.url()).await?, parts));
    }
    let (begun, before) = (Instant::now(), Used::now());
    let writes = streams.into_iter().map(|(mut connection, parts)| async move {
        for (statement, rows) in parts {
            let mut copy = connection.copy_in_raw(&statement).await?;
            for part in rows.chunks(1_000) {
                copy.send(part.concat()).await?;
            }
            copy.finish().await?;
        }
        anyhow::Ok(())
    });
    let writes: Vec<_> = writes.map(tokio::spawn).collect();
    for written in try_join_all(writes).await.context("a stream was cut short")? {
        written?;
    }
    Ok((begun.elapsed(), Used::now().since(before)))
}
