//! Reading from a position, for audits and exports: outside of any group.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message;
use schemas::{Offset, PartitionId};

use super::KafkaConfig;
use super::client::{self, LoggingContext, is_out_of_range, partition_number, place};
use super::source::place_and_payload;
use super::topic::{Topic, blocking};
use crate::batch::Filling;
use crate::run::ReadError;
use crate::{Batch, Bounds, StoredRecord};

/// How long records that are there may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the client is waited for at a time.
const TURN: Duration = Duration::from_secs(1);

/// Consumers are kept, as who reads a batch mostly reads on. One that has read its partition to the end goes on to another,
/// so who reads partitions one after another has one consumer.
pub(super) struct Readers {
    config: Arc<KafkaConfig>,
    topic: Topic,
    idle: Mutex<Vec<Reader>>,
}

impl Readers {
    pub(super) fn new(config: Arc<KafkaConfig>, topic: Topic) -> Self {
        Self { config, topic, idle: Mutex::default() }
    }

    pub(super) async fn read(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Result<Batch, ReadError> {
        let end = match self.end_beyond(partition, from, bounds) {
            Some(end) => end,
            None => {
                let range = self.topic.range(partition).await?;
                range.check(partition, from)?;
                range.end
            }
        };
        if from == end {
            return Ok(Filling::new(partition, from, bounds).finish());
        }
        let reader = match self.idle(partition, from) {
            Some(reader) => reader,
            None => Reader::new(&self.config, partition).map_err(|error| ReadError::Passing(error.to_string()))?,
        };
        let (reader, batch) = blocking(move || reader.read(partition, from, end, bounds))
            .await
            .map_err(|error| ReadError::Passing(error.to_string()))?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(reader);
        batch
    }

    /// The partition's end as it was known, where that is beyond what the batch can hold: where it is by now makes no
    /// difference to the batch, so that the brokers need not be asked.
    fn end_beyond(&self, partition: PartitionId, from: Offset, bounds: Bounds) -> Option<Offset> {
        let full = Offset(from.0.saturating_add(bounds.records.max(1) as u64));
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let there = idle.iter().find(|reader| reader.is_at(partition, from))?;
        (full <= there.end).then_some(there.end)
    }

    /// The reader that is there already, else one that has nothing to read any more.
    fn idle(&self, partition: PartitionId, from: Offset) -> Option<Reader> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let there = idle.iter().position(|reader| reader.is_at(partition, from));
        let free = || idle.iter().position(|reader| reader.partition == partition || reader.next == Some(reader.end));
        let at = there.or_else(free)?;
        Some(idle.swap_remove(at))
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
    /// Where the partition ended when that was last asked.
    end: Offset,
}

impl Reader {
    fn new(config: &KafkaConfig, partition: PartitionId) -> KafkaResult<Self> {
        // Without a subscription the group is a name only: nobody joins it, and nothing is committed.
        let consumer = client::consumer(config, "read").create_with_context(LoggingContext)?;
        Ok(Self { partition, topic: config.topic.clone(), consumer, next: None, held: None, end: Offset(0) })
    }

    /// Whether it can go on there as it is.
    fn is_at(&self, partition: PartitionId, from: Offset) -> bool {
        self.partition == partition && self.held.as_ref().map(|record| record.offset).or(self.next) == Some(from)
    }

    /// Hands itself back where it can go on.
    fn read(
        mut self,
        partition: PartitionId,
        from: Offset,
        end: Offset,
        bounds: Bounds,
    ) -> (Option<Self>, Result<Batch, ReadError>) {
        let batch = self.fill(partition, from, end, bounds);
        (batch.is_ok().then_some(self), batch)
    }

    /// Takes what there is before `end`, within the bounds.
    fn fill(&mut self, partition: PartitionId, from: Offset, end: Offset, bounds: Bounds) -> Result<Batch, ReadError> {
        self.go_to(partition, from).map_err(|error| self.passing(&error))?;
        self.end = end;
        let mut filling = Filling::new(partition, from, bounds);
        if let Some(held) = self.held.take()
            && !filling.push(held.offset, &held.payload)
        {
            self.held = Some(held);
        }
        // Since when there was nothing but trouble.
        let mut waiting = None;
        while self.held.is_none() && filling.next() < end && !filling.is_full() {
            // What is there already is taken without a look at the clock.
            let there = self.consumer.poll(Duration::ZERO);
            let message = match there.or_else(|| self.consumer.poll(TURN)) {
                Some(Ok(message)) => message,
                Some(Err(error)) if is_out_of_range(&error) => return Err(self.passing(&error)),
                // The client goes on trying.
                other if waiting.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                    drop(other);
                    continue;
                }
                Some(Err(error)) => return Err(self.passing(&error)),
                None => return Err(self.passing(&"the brokers don't send it")),
            };
            let (offset, payload) = place_and_payload(&message);
            // Fetched for the partition before.
            if message.partition() != partition_number(partition) {
                continue;
            }
            match offset.cmp(&filling.next()) {
                Ordering::Less => {}
                Ordering::Greater => return Err(ReadError::gap(partition, filling.next(), offset)),
                Ordering::Equal => {
                    waiting = None;
                    self.next = Some(offset.next());
                    if !filling.push(offset, payload) {
                        self.held = Some(StoredRecord { offset, payload: Bytes::copy_from_slice(payload) });
                    }
                }
            }
        }
        Ok(filling.finish())
    }

    fn go_to(&mut self, partition: PartitionId, from: Offset) -> KafkaResult<()> {
        if self.is_at(partition, from) {
            return Ok(());
        }
        (self.partition, self.held, self.next) = (partition, None, None);
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(&self.topic, partition_number(partition), place(from))?;
        self.consumer.assign(&start)?;
        self.next = Some(from);
        Ok(())
    }

    fn passing(&self, error: &dyn std::fmt::Display) -> ReadError {
        ReadError::Passing(format!("partition {} from offset {:?}: {error}", self.partition, self.next))
    }
}
