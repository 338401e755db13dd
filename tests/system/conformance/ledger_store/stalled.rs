//! A ledger that stands still in the middle of a copy: to PostgreSQL, a statement under way.

use std::time::{Duration, Instant};

use ledger::{PostgresStore, Store as _, StoreError};
use schemas::PartitionId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, query};

use super::commit::empty;

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_stands_still_holds_nobody_up() {
    let database = tests::postgres::database().await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    let options: PgConnectOptions = database.url().parse().unwrap();
    let mut stalled = options.application_name("modelhub-ledger").connect().await.unwrap();
    query("BEGIN").execute(&mut stalled).await.unwrap();
    let moved = "INSERT INTO positions (partition_no, next_offset, chain, last_record) \
                 VALUES (3, 7, decode(repeat('07', 32), 'hex'), decode(repeat('07', 32), 'hex'))";
    query(moved).execute(&mut stalled).await.unwrap();
    let copy = stalled.copy_in_raw("COPY postings (event_id) FROM STDIN (FORMAT binary)").await.unwrap();

    let begun = Instant::now();
    let moved = loop {
        match store.commit(&empty(PartitionId(3), 0, 1)).await {
            Err(StoreError::Unavailable { .. }) if begun.elapsed() < PATIENCE => {}
            outcome => break outcome,
        }
    };
    moved.unwrap();
    copy.finish().await.expect_err("its connection was ended");
    assert_eq!(store.head(PartitionId(3)).await.unwrap().next.0, 1);
}
