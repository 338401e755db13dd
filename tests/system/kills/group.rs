//! Two `modelhub ledger` processes that share the partitions of one topic.

use std::sync::Arc;
use std::time::Duration;

use eventlog::EventLog;
use schemas::{Offset, PartitionId};
use sqlx::PgPool;
use tests::process::Process;
use tokio::time::{Instant, sleep};

use super::assert_model;
use super::producer::Producer;
use crate::books;
use crate::system::System;

/// How long a group may take to get over anything.
const PATIENCE: Duration = Duration::from_mins(1);
/// Enough for both to have some, few enough for an audit to be quick.
const PARTITIONS: &str = "4";

pub(super) struct Group {
    pub(super) system: System,
    pub(super) pool: PgPool,
    ledgers: [Process; 2],
}

impl Group {
    pub(super) async fn start() -> Self {
        let mut system = System::distributed_without_services().await;
        system.set_variable("MODELHUB_KAFKA__PARTITIONS", PARTITIONS.to_owned());
        let session = system.session_timeout().as_millis().to_string();
        system.set_variable("MODELHUB_KAFKA__SESSION_TIMEOUT_MS", session);
        let mut ledgers = Vec::new();
        for _ in 0..2 {
            let address = format!("127.0.0.1:{}", tests::port());
            let ledger = Process::start(system.command().arg("ledger").env("MODELHUB_LEDGER__LISTEN", &address));
            ledger.answers(&address, "/readyz").await;
            ledgers.push(ledger);
        }
        let ledgers = ledgers.try_into().expect("two ledgers");
        let pool = books::postgres(&system).await;
        Self { system, pool, ledgers }
    }

    pub(super) fn ledger(&self, number: u64) -> &Process {
        &self.ledgers[usize::from(number != 0)]
    }

    /// Waits until both have partitions.
    pub(super) async fn shared_out(&self) {
        let begun = Instant::now();
        let has_some = |ledger: &Process| {
            let told = ledger.stderr();
            told.lines().any(|line| line.contains("runs these partitions too") && !line.contains("partitions=[]"))
        };
        while !self.ledgers.iter().all(has_some) {
            assert!(begun.elapsed() < PATIENCE, "one has no partitions");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The position of record of each partition.
    async fn positions(&self) -> Vec<(PartitionId, Offset)> {
        let rows: Vec<(i64, i64)> = sqlx::query_as("SELECT partition_no, next_offset FROM positions")
            .fetch_all(&self.pool)
            .await
            .expect("positions");
        let unsigned = |(partition, next): (i64, i64)| {
            (PartitionId(u32::try_from(partition).expect("a partition")), Offset(next.cast_unsigned()))
        };
        rows.into_iter().map(unsigned).collect()
    }

    async fn ends(log: &Arc<dyn EventLog>) -> Vec<(PartitionId, Offset)> {
        let mut ends = Vec::new();
        for partition in (0..log.partitions()).map(PartitionId) {
            ends.push((partition, log.end(partition).await.expect("the log's end")));
        }
        ends
    }

    /// The partitions that are not applied up to here.
    async fn waiting(&self, ends: &[(PartitionId, Offset)]) -> Vec<PartitionId> {
        let positions = self.positions().await;
        let next = |id| positions.iter().find(|(found, _)| *found == id).map_or(Offset(0), |(_, next)| *next);
        ends.iter().filter(|(id, end)| next(*id) < *end).map(|(id, _)| *id).collect()
    }

    /// Whether records of the log are not applied yet.
    pub(super) async fn is_behind(&self, log: &Arc<dyn EventLog>) -> bool {
        !self.waiting(&Self::ends(log).await).await.is_empty()
    }

    /// Waits until all that is in the log now is applied.
    pub(super) async fn caught_up(&self, log: &Arc<dyn EventLog>) {
        let ends = Self::ends(log).await;
        let begun = Instant::now();
        loop {
            let waiting = self.waiting(&ends).await;
            if waiting.is_empty() {
                return;
            }
            let output: Vec<String> = self.ledgers.iter().map(Process::stderr).collect();
            assert!(begun.elapsed() < PATIENCE, "partitions {waiting:?} are not applied up to {ends:?}: {output:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends both ledgers, compares the database with the model, drops every table that the log can give again, and has it
    /// rebuilt: the same to the byte.
    pub(super) async fn comes_back_from_the_log(&self, producer: &Producer, context: &str) {
        for ledger in &self.ledgers {
            assert_eq!(ledger.terminate().await, 0, "{context}: {}", ledger.stderr());
        }
        assert_model(producer, &self.pool, context).await;
        let contact =
            "INSERT INTO contacts (email, account_id, created_at) VALUES ('owner@example.com', gen_random_uuid(), 7)";
        books::postgres_tamper(&self.pool, contact).await;
        let before = books::postgres_dump(&self.pool).await;
        for table in ["accounts: ", "positions: ", "postings: ", "transfers: ", "quarantine: ", "contacts: "] {
            assert!(before.iter().any(|row| row.starts_with(table)), "{context}: nothing in {table}");
        }
        let tables = "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
            WHERE schemaname = 'public' AND tablename NOT IN ('contacts', '_sqlx_migrations')";
        let tables: String = sqlx::query_scalar(tables).fetch_one(&self.pool).await.expect("tables");
        let drop = sqlx::AssertSqlSafe(format!("DROP TABLE {tables}"));
        sqlx::query(drop).execute(&self.pool).await.expect("dropped");
        let rebuilt = self.system.run(&["rebuild", "ledger"]).await;
        assert_eq!(rebuilt.code, 0, "{context}: {rebuilt:?}");
        let after = books::postgres_dump(&self.pool).await;
        let differs = before.iter().zip(&after).find(|(before, after)| before != after);
        assert_eq!((differs, before.len()), (None, after.len()), "{context}");
        assert_model(producer, &self.pool, context).await;
        books::nothing_differs(&self.system.run(&["audit", "--json"]).await, context);
    }
}
