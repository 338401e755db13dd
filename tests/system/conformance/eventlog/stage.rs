//! A log of its own for each test.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventlog::embedded::EmbeddedLog;
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{Bounds, EventLog, Record, StoredRecord};
use schemas::{AccountId, Offset, PartitionId, Position};
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

/// How many partitions the logs have.
pub(super) const PARTITIONS: u32 = 3;

/// How long anything may take before a test gives up on it.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A log, which any number of processes may open.
pub(super) enum Stage {
    Embedded(TempDir),
    Kafka(KafkaConfig),
}

impl Stage {
    pub(super) fn embedded() -> Self {
        Self::Embedded(TempDir::new().unwrap())
    }

    pub(super) async fn kafka() -> Self {
        let cluster = tests::kafka::cluster().await;
        Self::Kafka(KafkaConfig {
            brokers: cluster.brokers().to_owned(),
            topic: format!("{}events", cluster.topic_prefix()),
            partitions: PARTITIONS,
            replication: 1,
            session_timeout: Duration::from_secs(10),
            client_id: "conformance".to_owned(),
        })
    }

    /// Opens the log as another process would.
    pub(super) async fn open(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Embedded(folder) => {
                Arc::new(EmbeddedLog::open(&folder.path().join("log.db"), PARTITIONS).await.unwrap())
            }
            Self::Kafka(config) => Arc::new(KafkaLog::connect(config.clone()).await.unwrap()),
        }
    }

    /// Whether members of a group each run some of the partitions.
    pub(super) fn shares_partitions(&self) -> bool {
        matches!(self, Self::Kafka(_))
    }
}

/// The account of this number.
pub(super) fn account(number: u32) -> AccountId {
    AccountId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes()))
}

/// An account whose records are in this partition.
pub(super) fn account_in(partition: PartitionId) -> AccountId {
    (0..1_000).map(account).find(|account| eventlog::partition::of(*account, PARTITIONS) == partition).unwrap()
}

pub(super) fn partitions() -> impl Iterator<Item = PartitionId> {
    (0..PARTITIONS).map(PartitionId)
}

pub(super) async fn append(log: &dyn EventLog, key: AccountId, payload: impl Into<Bytes>) -> Position {
    log.append(Record { key, payload: payload.into() }).await.unwrap()
}

/// Appends records to all partitions, numbered from `first` on.
pub(super) async fn append_some(log: &dyn EventLog, first: u32, count: u32) {
    let numbers = first..first + count;
    let appends = numbers.map(|number| append(log, account(number), format!("record {number}")));
    futures_util::future::join_all(appends).await;
}

/// Everything that the partition holds.
pub(super) async fn held(log: &dyn EventLog, partition: PartitionId) -> Vec<StoredRecord> {
    let end = log.end(partition).await.unwrap();
    let mut held = Vec::new();
    let mut from = Offset(0);
    while from < end {
        let batch = log.read(partition, from, Bounds::default()).await.unwrap();
        assert_eq!((batch.partition, batch.from), (partition, from));
        from = batch.next;
        held.extend(batch.records);
    }
    held
}

/// Waits until it is so.
pub(super) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
