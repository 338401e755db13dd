//! The topic: created once, checked at every start.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use schemas::{Offset, PartitionId};
use tokio::time::Instant;
use tracing::{info, warn};

use super::KafkaConfig;
use super::client::{self, LoggingContext};
use crate::run::ReadError;
use crate::{LogError, MAX_PAYLOAD_BYTES};

/// How long one question may take.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// How long a topic may take until it has its leaders.
const SETTLING: Duration = Duration::from_secs(30);

/// Between two looks at how many partitions the topic has.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a message needs beside the payload: the key, and the framing of a batch of one.
const FRAMING_BYTES: usize = 512;

/// The settings that keep events for ever, whole.
const KEEPS: [(&str, &str); 3] = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];

/// The offsets that a partition holds: from `start` to before `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: Offset,
    pub(super) end: Offset,
}

impl Range {
    /// Whether a reader can go on at `position`: at a record, or at the end.
    pub(super) fn check(self, partition: PartitionId, position: Offset) -> Result<(), ReadError> {
        if (self.start..=self.end).contains(&position) {
            return Ok(());
        }
        Err(ReadError::out_of_range(partition, position, self.start, self.end))
    }
}

/// The topic, as it is.
#[derive(Clone)]
pub(super) struct Topic {
    name: Arc<str>,
    partitions: u32,
    config: Arc<KafkaConfig>,
    inspector: Arc<BaseConsumer<LoggingContext>>,
}

impl Topic {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn partitions(&self) -> u32 {
        self.partitions
    }

    /// A client that asks.
    pub(super) fn inspector(&self) -> Arc<BaseConsumer<LoggingContext>> {
        Arc::clone(&self.inspector)
    }

    /// Returns once the topic has another number of partitions. Accounts' records would be in two partitions then, and be
    /// told in two orders.
    pub(super) async fn changed(&self) -> LogError {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match find(&self.config, &self.inspector).await {
                Ok(Ok(Found::Partitions(now))) if now != self.partitions => {
                    return LogError::Lost(format!(
                        "topic {:?} at {} has {now} partitions now, and had {} when this process started: which \
                         partition an account's events are in depends on that number, so a topic's partitions can't be \
                         changed. Set kafka.topic to a topic with {} partitions that holds the same records",
                        self.config.topic, self.config.brokers, self.partitions, self.partitions
                    ));
                }
                // Told by whoever reads, and not as long as that is so.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// What the partition holds now.
    pub(super) async fn range(&self, partition: PartitionId) -> Result<Range, ReadError> {
        if partition.0 >= self.partitions {
            return Err(ReadError::no_partition(partition, self.partitions));
        }
        let topic = self.clone();
        let ask = move || topic.inspector.fetch_watermarks(&topic.name, client::partition_number(partition), ANSWER);
        let passing = |error: &dyn std::fmt::Display| ReadError::Passing(format!("partition {partition}: {error}"));
        let (start, end) = blocking(ask).await.map_err(|error| passing(&error))?.map_err(|error| passing(&error))?;
        Ok(Range { start: Offset(start.cast_unsigned()), end: Offset(end.cast_unsigned()) })
    }
}

/// Runs what waits for a broker where waiting is allowed.
pub(super) async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Result<T, LogError> {
    tokio::task::spawn_blocking(ask)
        .await
        .map_err(|error| LogError::Unavailable(format!("a question to Kafka: {error}")))
}

/// Finds the topic or creates it, and checks that it keeps what it is given.
pub(super) async fn open(config: &Arc<KafkaConfig>) -> Result<Topic, LogError> {
    let fail = |what: &str, error: &KafkaError| {
        LogError::Unavailable(format!("{what} topic {:?} at {}: {error}", config.topic, config.brokers))
    };
    let inspector = Arc::new(client::inspector(config).map_err(|error| fail("no client for", &error))?);
    let admin: AdminClient<LoggingContext> =
        client::base(config).create_with_context(LoggingContext).map_err(|error| fail("no client for", &error))?;
    let begun = Instant::now();
    let mut created = false;
    let partitions = loop {
        let found = find(config, &inspector).await?.map_err(|error| fail("can't find", &error))?;
        match found {
            Found::Partitions(partitions) => break partitions,
            Found::Nothing if !created => {
                create(config, &admin).await?;
                created = true;
            }
            Found::Nothing | Found::Unsettled if begun.elapsed() > SETTLING => {
                return Err(LogError::Unavailable(format!(
                    "topic {:?} at {} has partitions without a leader, {} s long: are all its brokers up?",
                    config.topic,
                    config.brokers,
                    SETTLING.as_secs()
                )));
            }
            Found::Nothing | Found::Unsettled => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    check_settings(config, &admin).await?;
    if partitions != config.partitions {
        warn!(
            topic = config.topic,
            partitions,
            asked = config.partitions,
            "the topic's own number of partitions holds"
        );
    }
    Ok(Topic { name: config.topic.as_str().into(), partitions, config: Arc::clone(config), inspector })
}

enum Found {
    Nothing,
    /// Some partition has no leader yet.
    Unsettled,
    Partitions(u32),
}

async fn find(
    config: &Arc<KafkaConfig>,
    inspector: &Arc<BaseConsumer<LoggingContext>>,
) -> Result<Result<Found, KafkaError>, LogError> {
    let (config, inspector) = (Arc::clone(config), Arc::clone(inspector));
    blocking(move || {
        let metadata = inspector.fetch_metadata(Some(&config.topic), ANSWER)?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == config.topic) else {
            return Ok(Found::Nothing);
        };
        match topic.error() {
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Ok(Found::Nothing),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => Ok(Found::Unsettled),
            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
            None if topic.partitions().iter().any(|partition| partition.leader() < 0) => Ok(Found::Unsettled),
            None => Ok(match u32::try_from(topic.partitions().len()) {
                Ok(partitions @ 1..) => Found::Partitions(partitions),
                _ => Found::Unsettled,
            }),
        }
    })
    .await
}

/// Creates the topic; somebody else may do so at the same moment.
async fn create(config: &KafkaConfig, admin: &AdminClient<LoggingContext>) -> Result<(), LogError> {
    let fail = |error: &dyn std::fmt::Display| {
        LogError::Unavailable(format!(
            "can't create topic {:?} with {} partitions and {} replicas at {}: {error}",
            config.topic, config.partitions, config.replication, config.brokers
        ))
    };
    let number = |number: u32| i32::try_from(number.max(1)).unwrap_or(i32::MAX);
    let replication = TopicReplication::Fixed(number(config.replication));
    let mut topic = NewTopic::new(&config.topic, number(config.partitions), replication);
    for (name, value) in KEEPS {
        topic = topic.set(name, value);
    }
    if config.replication > 2 {
        // With the default of one, all in-sync replicas may be a single disk.
        topic = topic.set("min.insync.replicas", "2");
    }
    let options = AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER));
    for outcome in admin.create_topics([&topic], &options).await.map_err(|error| fail(&error))? {
        match outcome {
            Ok(_) => info!(topic = config.topic, partitions = config.partitions, "created the log's topic"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, error)) => return Err(fail(&error)),
        }
    }
    Ok(())
}

/// A topic that somebody else created, or a broker did by itself, forgets events after a week.
async fn check_settings(config: &KafkaConfig, admin: &AdminClient<LoggingContext>) -> Result<(), LogError> {
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let answer = admin.describe_configs([&ResourceSpecifier::Topic(&config.topic)], &options).await;
    let settings = match answer.map(|answers| answers.into_iter().next()) {
        Ok(Some(Ok(settings))) => settings,
        Ok(Some(Err(error))) => {
            warn!(topic = config.topic, %error, "can't tell whether the topic keeps records for ever");
            return Ok(());
        }
        Ok(None) => return Ok(()),
        Err(error) => {
            return Err(LogError::Unavailable(format!("can't see the settings of topic {:?}: {error}", config.topic)));
        }
    };
    match wrong_setting(&settings) {
        None => Ok(()),
        Some((name, value, needed)) => Err(LogError::Unavailable(format!(
            "topic {:?} has {name}={value}, and the event log needs {needed}: kafka-configs.sh --bootstrap-server {} \
             --alter --topic {0} --add-config {name}={needed}",
            config.topic, config.brokers
        ))),
    }
}

/// The first setting that would lose or refuse events: its name, its value, and what it must be.
fn wrong_setting(settings: &ConfigResource) -> Option<(&'static str, String, String)> {
    let value = |name| settings.get(name).and_then(|entry| entry.value.clone());
    for (name, needed) in KEEPS {
        if let Some(value) = value(name).filter(|value| value != needed) {
            return Some((name, value, needed.to_owned()));
        }
    }
    let (name, needed) = ("max.message.bytes", MAX_PAYLOAD_BYTES + FRAMING_BYTES);
    let value = value(name)?;
    let too_small = value.parse::<usize>().is_ok_and(|bytes| bytes < needed);
    too_small.then(|| (name, value, needed.to_string()))
}
