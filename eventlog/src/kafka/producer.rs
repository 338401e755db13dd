//! The producer, which is replaced when it breaks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use schemas::{Offset, PartitionId};
use tracing::error;

use super::KafkaConfig;
use super::client::{self, LoggingContext, partition_number};
use crate::{AppendError, Record};

/// How long an append waits for room in the producer's queue before it gives up.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// An idempotent producer that meets a fatal error refuses everything from then on; the next append gets a new one.
pub(super) struct Producer {
    config: Arc<KafkaConfig>,
    current: Mutex<Current>,
}

#[derive(Clone)]
struct Current {
    generation: u64,
    producer: FutureProducer<LoggingContext>,
}

impl Producer {
    pub(super) fn new(config: Arc<KafkaConfig>) -> KafkaResult<Self> {
        let producer = client::producer(&config)?;
        Ok(Self { config, current: Mutex::new(Current { generation: 0, producer }) })
    }

    /// Sends a record to this partition, and tells its offset when all in-sync replicas have it.
    pub(super) async fn send(&self, partition: PartitionId, record: &Record) -> Result<Offset, AppendError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let key = record.key.to_string();
        let message = FutureRecord::to(&self.config.topic)
            .partition(partition_number(partition))
            .key(&key)
            .payload(&record.payload[..]);
        let failure = match current.producer.send(message, QUEUE_WAIT).await {
            Ok(delivery) => return Ok(Offset(delivery.offset.cast_unsigned())),
            Err((failure, _)) => failure,
        };
        if let Some((_, reason)) = current.producer.client().fatal_error() {
            self.replace(current.generation, &reason);
            return Err(AppendError::Unavailable(reason));
        }
        Err(match failure.rdkafka_error_code() {
            // The topic's limit was lowered since it was checked.
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                let size_bytes = record.payload.len();
                AppendError::TooLarge { size_bytes, max_bytes: size_bytes.saturating_sub(1) }
            }
            _ => AppendError::Unavailable(failure.to_string()),
        })
    }

    fn replace(&self, broken: u64, reason: &str) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation != broken {
            return;
        }
        error!(topic = self.config.topic, reason, "the log's producer is broken and gets replaced");
        match client::producer(&self.config) {
            Ok(producer) => *current = Current { generation: broken + 1, producer },
            Err(error) => error!(topic = self.config.topic, %error, "there is no new producer for the log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use schemas::AccountId;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_broken_producer_is_replaced() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("events", 3, 1).unwrap();
        cluster.request_errors(
            RDKafkaApiKey::InitProducerId,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
        );
        let producer = Producer::new(Arc::new(KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            topic: "events".to_owned(),
            partitions: 3,
            replication: 1,
            client_id: "test".to_owned(),
        }))
        .unwrap();
        let record = Record { key: AccountId(Uuid::nil()), payload: Bytes::from_static(b"payload") };
        let broken = producer.send(PartitionId(1), &record).await.unwrap_err().to_string();
        assert!(broken.contains("authorization failed"), "{broken}");
        assert_eq!(producer.send(PartitionId(1), &record).await.unwrap(), Offset(0));
        assert_eq!(producer.send(PartitionId(1), &record).await.unwrap(), Offset(1));
    }
}
