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
            // A repeat that the broker recognised has no offset. Whoever appends the event again gets one.
            Ok(delivery) => {
                return u64::try_from(delivery.offset).map(Offset).map_err(|_| {
                    AppendError::Unavailable("the brokers have the record, but did not say where it is".to_owned())
                });
            }
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

    /// A producer into a mock cluster that answers its first request of this kind so.
    fn producer(
        request: RDKafkaApiKey,
        answer: RDKafkaRespErr,
    ) -> (MockCluster<'static, impl rdkafka::ClientContext>, Producer) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("events", 3, 1).unwrap();
        cluster.request_errors(request, &[answer]);
        let producer = Producer::new(Arc::new(KafkaConfig {
            brokers: cluster.bootstrap_servers(),
            topic: "events".to_owned(),
            partitions: 3,
            replication: 1,
            session_timeout: Duration::from_secs(10),
            client_id: "test".to_owned(),
        }));
        (cluster, producer.unwrap())
    }

    fn record() -> Record {
        Record { key: AccountId(Uuid::nil()), payload: Bytes::from_static(b"payload") }
    }

    #[tokio::test]
    async fn a_broken_producer_is_replaced() {
        let failed = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        let (_cluster, producer) = producer(RDKafkaApiKey::InitProducerId, failed);
        let broken = producer.send(PartitionId(1), &record()).await.unwrap_err().to_string();
        assert!(broken.contains("authorization failed"), "{broken}");
        assert_eq!(producer.send(PartitionId(1), &record()).await.unwrap(), Offset(0));
        assert_eq!(producer.send(PartitionId(1), &record()).await.unwrap(), Offset(1));
    }

    /// librdkafka calls a repeat that the broker recognises a success, without an offset. Taken for one, it would be a
    /// position beyond the end of every log.
    #[tokio::test]
    async fn an_offset_is_never_made_up() {
        let duplicate = RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
        let (_cluster, producer) = producer(RDKafkaApiKey::Produce, duplicate);
        let unknown = producer.send(PartitionId(1), &record()).await.unwrap_err().to_string();
        assert!(unknown.contains("did not say where"), "{unknown}");
        assert_eq!(producer.send(PartitionId(1), &record()).await.unwrap(), Offset(0));
    }
}
