//! Reading from a position, for audits and exports: outside of any group.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use schemas::{Offset, PartitionId};

use super::KafkaConfig;
use super::client::{self, LoggingContext, is_out_of_range, partition_number, place};
use super::source::stored;
use super::topic::{Topic, blocking};
use crate::batch::Filling;
use crate::run::ReadError;
use crate::{Batch, Bounds, StoredRecord};

/// How long records that are there may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A consumer a partition is kept, as who reads a batch mostly reads on.
pub(super) struct Readers {
    config: Arc<KafkaConfig>,
    topic: Topic,
    idle: Mutex<BTreeMap<PartitionId, Reader>>,
}

impl Readers {
    pub(super) fn new(config: Arc<KafkaConfig>, topic: Topic) -> Self {
        Self { config, topic, idle: Mutex::default() }
    }

    pub(super) async fn read(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Result<Batch, ReadError> {
        let range = self.topic.range(partition).await?;
        range.check(partition, from)?;
        if from == range.end {
            return Ok(Filling::new(partition, from, bounds).finish());
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
        let reader = match idle {
            Some(reader) => reader,
            None => Reader::new(&self.config, partition).map_err(|error| ReadError::Passing(error.to_string()))?,
        };
        let (reader, batch) = blocking(move || reader.read(from, range.end, bounds))
            .await
            .map_err(|error| ReadError::Passing(error.to_string()))?;
        if let Some(reader) = reader {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, reader);
        }
        batch
    }
}

struct Reader {
    partition: PartitionId,
    topic: String,
    consumer: BaseConsumer<LoggingContext>,
    /// The offset that the consumer gives next.
    next: Option<Offset>,
    /// The record before it, where it did not fit the last batch.
    held: Option<StoredRecord>,
}

impl Reader {
    fn new(config: &KafkaConfig, partition: PartitionId) -> KafkaResult<Self> {
        // Without a subscription the group is a name only: nobody joins it, and nothing is committed.
        let consumer = client::consumer(config, "read").create_with_context(LoggingContext)?;
        Ok(Self { partition, topic: config.topic.clone(), consumer, next: None, held: None })
    }

    /// Hands itself back where it can go on.
    fn read(mut self, from: Offset, end: Offset, bounds: Bounds) -> (Option<Self>, Result<Batch, ReadError>) {
        let batch = self.fill(from, end, bounds);
        (batch.is_ok().then_some(self), batch)
    }

    /// Takes what there is before `end`, within the bounds.
    fn fill(&mut self, from: Offset, end: Offset, bounds: Bounds) -> Result<Batch, ReadError> {
        self.go_to(from).map_err(|error| self.passing(&error))?;
        let mut filling = Filling::new(self.partition, from, bounds);
        if let Some(held) = self.held.take() {
            self.held = filling.push(held).err();
        }
        let mut asked = Instant::now();
        while filling.next() < end && !filling.is_full() {
            let record = match self.consumer.poll(PATIENCE.saturating_sub(asked.elapsed())) {
                Some(Ok(message)) => stored(&message),
                Some(Err(error)) if is_out_of_range(&error) => return Err(self.passing(&error)),
                Some(Err(error)) if asked.elapsed() > PATIENCE => return Err(self.passing(&error)),
                None if asked.elapsed() > PATIENCE => return Err(self.passing(&"the brokers don't send it")),
                // The client goes on trying.
                Some(Err(_)) | None => continue,
            };
            match record.offset.cmp(&filling.next()) {
                Ordering::Less => {}
                Ordering::Greater => return Err(ReadError::gap(self.partition, filling.next(), record.offset)),
                Ordering::Equal => {
                    asked = Instant::now();
                    self.next = Some(record.offset.next());
                    if let Err(record) = filling.push(record) {
                        self.held = Some(record);
                        break;
                    }
                }
            }
        }
        Ok(filling.finish())
    }

    fn go_to(&mut self, from: Offset) -> KafkaResult<()> {
        if self.held.as_ref().map(|record| record.offset).or(self.next) == Some(from) {
            return Ok(());
        }
        self.held = None;
        self.next = None;
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(&self.topic, partition_number(self.partition), place(from))?;
        self.consumer.assign(&start)?;
        self.next = Some(from);
        Ok(())
    }

    fn passing(&self, error: &dyn std::fmt::Display) -> ReadError {
        ReadError::Passing(format!("partition {} from offset {:?}: {error}", self.partition, self.next))
    }
}
