//! The log in one topic of Apache Kafka.
//!
//! Records are sent to the partition that [`partition::of`] gives, by an idempotent producer that waits for all in-sync
//! replicas. Kafka decides which member of a group runs which partition, and nothing more: every partition starts at
//! the sink's position of record (I4). The offset that the group commits, about once a second, is for those who watch
//! the lag.

mod client;
mod group;
mod members;
mod producer;
mod reader;
mod source;
mod topic;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemas::{Offset, PartitionId, Position};
use tokio_util::sync::CancellationToken;

use self::client::Patience;
use self::producer::Producer;
use self::reader::Readers;
use self::topic::Topic;
use crate::{AppendError, Batch, Bounds, EventLog, LogError, MAX_PAYLOAD_BYTES, Record, Sink, partition};

/// How to reach the log.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    /// The topic; created if it is not there.
    pub topic: String,
    /// How many partitions the topic is created with. One that is there keeps what it has.
    pub partitions: u32,
    /// How many replicas each partition is created with.
    pub replication: u32,
    /// How long a member of a group that is not heard of keeps its partitions; from one second to five minutes. One that
    /// only seemed dead is refused by the sink.
    pub session_timeout: Duration,
    /// What this process is called in the brokers' logs and metrics.
    pub client_id: String,
}

/// The log in a Kafka topic.
pub struct KafkaLog {
    config: Arc<KafkaConfig>,
    topic: Topic,
    producer: Producer,
    readers: Readers,
}

impl KafkaLog {
    /// Connects, creates the topic if it is not there, and learns how many partitions it has. A topic that doesn't keep
    /// records for ever, or is too small for an event, is refused.
    pub async fn connect(config: KafkaConfig) -> Result<Self, LogError> {
        Self::connect_with(config, Patience::Bounded).await
    }

    /// As [`connect`](Self::connect), for a spool: an append waits for as long as the brokers are away, and so keeps its
    /// turn. Whoever appends bounds how many wait.
    pub async fn connect_patiently(config: KafkaConfig) -> Result<Self, LogError> {
        Self::connect_with(config, Patience::Endless).await
    }

    async fn connect_with(config: KafkaConfig, patience: Patience) -> Result<Self, LogError> {
        let config = Arc::new(config);
        let topic = topic::open(&config).await?;
        let producer = Producer::new(Arc::clone(&config), patience);
        let producer = producer.map_err(|error| LogError::Unavailable(format!("no producer: {error}")))?;
        let readers = Readers::new(Arc::clone(&config), topic.clone());
        Ok(Self { config, topic, producer, readers })
    }

    /// How many processes [`run`](EventLog::run) in `group`. One that was killed is counted until the brokers miss it,
    /// which takes some seconds.
    pub async fn members(&self, group: &str) -> Result<usize, LogError> {
        members::count(&self.topic, client::group_id(&self.config, group)).await
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    fn partitions(&self) -> u32 {
        self.topic.partitions()
    }

    async fn append(&self, record: Record) -> Result<Position, AppendError> {
        let size_bytes = record.payload.len();
        if size_bytes > MAX_PAYLOAD_BYTES {
            return Err(AppendError::TooLarge { size_bytes, max_bytes: MAX_PAYLOAD_BYTES });
        }
        let partition = partition::of(record.key, self.partitions());
        let offset = self.producer.send(partition, &record).await?;
        Ok(Position { partition, offset })
    }

    async fn end(&self, partition: PartitionId) -> Result<Offset, LogError> {
        Ok(self.topic.range(partition).await?.end)
    }

    async fn read(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Result<Batch, LogError> {
        Ok(self.readers.read(partition, from, bounds).await?)
    }

    async fn run(&self, group: &str, sink: Arc<dyn Sink>, stop: CancellationToken) -> Result<(), LogError> {
        group::run(&self.config, &self.topic, group, sink, stop).await
    }
}
