//! A partition's records, as they come from the group's consumer.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::stream_consumer::StreamPartitionQueue;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use schemas::{Offset, PartitionId};

use super::client::{is_out_of_range, partition_number, place};
use super::group::GroupContext;
use super::topic::Topic;
use crate::batch::Filling;
use crate::run::{ReadError, Source};
use crate::{Batch, Bounds, StoredRecord};

/// How long the client's own thread may take to go to another offset; it is not the broker that is asked.
const SEEK: Duration = Duration::from_secs(5);

/// The consumer of a member of a group.
pub(super) type GroupConsumer = StreamConsumer<GroupContext>;

/// How far the sinks have got, as far as the group has not been told.
pub(super) type Progress = Arc<Mutex<BTreeMap<PartitionId, Offset>>>;

/// A partition that this member of the group owns.
pub(super) struct KafkaSource {
    partition: PartitionId,
    topic: Topic,
    consumer: Arc<GroupConsumer>,
    queue: StreamPartitionQueue<GroupContext>,
    progress: Progress,
    /// Whether the consumer fetches the partition already.
    begun: bool,
    /// The offset that the queue gives next, where that is known.
    next: Option<Offset>,
    /// The record before it, where it did not fit the last batch.
    held: Option<StoredRecord>,
    /// Where the queue went on instead, when last it didn't give what it should.
    gap: Option<Offset>,
}

impl KafkaSource {
    pub(super) fn new(
        partition: PartitionId,
        topic: Topic,
        consumer: Arc<GroupConsumer>,
        queue: StreamPartitionQueue<GroupContext>,
        progress: Progress,
    ) -> Self {
        Self { partition, topic, consumer, queue, progress, begun: false, next: None, held: None, gap: None }
    }

    /// Makes `from` the next record to come.
    fn go_to(&mut self, from: Offset) -> Result<(), ReadError> {
        if self.held.as_ref().map(|record| record.offset).or(self.next) == Some(from) {
            return Ok(());
        }
        self.held = None;
        self.next = None;
        self.begin(from).map_err(|error| {
            ReadError::Passing(format!("partition {}: can't go to offset {from}: {error}", self.partition))
        })?;
        self.next = Some(from);
        Ok(())
    }

    fn begin(&mut self, from: Offset) -> KafkaResult<()> {
        let (topic, number) = (self.topic.name(), partition_number(self.partition));
        if self.begun {
            return self.consumer.seek(topic, number, place(from), SEEK);
        }
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(topic, number, place(from))?;
        self.consumer.incremental_assign(&start)?;
        self.begun = true;
        Ok(())
    }

    /// Takes what is there, waiting for the first record only. None where the queue skipped some.
    async fn fill(&mut self, from: Offset, bounds: Bounds) -> Result<Option<Batch>, ReadError> {
        let mut filling = Filling::new(self.partition, from, bounds);
        if let Some(held) = self.held.take()
            && !filling.push(held.offset, &held.payload)
        {
            self.held = Some(held);
        }
        while !filling.is_full() {
            let expected = filling.next();
            let message = if expected == from {
                self.queue.recv().await
            } else {
                let Some(message) = self.queue.recv().now_or_never() else { break };
                message
            };
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    self.next = None;
                    return Err(self.failure(&error, expected).await);
                }
            };
            let (offset, payload) = place_and_payload(&message);
            match offset.cmp(&expected) {
                // Fetched before the last seek.
                Ordering::Less => {}
                Ordering::Equal => {
                    self.next = Some(offset.next());
                    if !filling.push(offset, payload) {
                        self.held = Some(StoredRecord { offset, payload: Bytes::copy_from_slice(payload) });
                        break;
                    }
                }
                Ordering::Greater => {
                    self.next = None;
                    if self.gap.replace(offset) == Some(offset) {
                        return Err(ReadError::gap(self.partition, expected, offset));
                    }
                    break;
                }
            }
        }
        let batch = filling.finish();
        Ok(if batch.records.is_empty() { None } else { Some(batch) })
    }

    async fn failure(&self, error: &KafkaError, at: Offset) -> ReadError {
        match error {
            error if is_out_of_range(error) => match self.topic.range(self.partition).await {
                Ok(range) => range.check(self.partition, at).err().unwrap_or_else(|| {
                    ReadError::Passing(format!("partition {}: offset {at} was not there", self.partition))
                }),
                Err(_) => ReadError::Lost(format!("partition {} has no offset {at}: {error}", self.partition)),
            },
            KafkaError::MessageConsumptionFatal(_) => ReadError::Lost(error.to_string()),
            error => ReadError::Passing(error.to_string()),
        }
    }
}

/// What of a message is the log's record. One without a payload is none of ours, yet a fact.
pub(super) fn place_and_payload<'a>(message: &'a BorrowedMessage<'_>) -> (Offset, &'a [u8]) {
    (Offset(message.offset().cast_unsigned()), message.payload().unwrap_or_default())
}

#[async_trait]
impl Source for KafkaSource {
    async fn batch(&mut self, from: Offset, bounds: Bounds) -> Result<Batch, ReadError> {
        loop {
            self.go_to(from)?;
            if let Some(batch) = self.fill(from, bounds).await? {
                self.gap = self.gap.filter(|gap| *gap >= batch.next);
                return Ok(batch);
            }
        }
    }

    fn applied(&mut self, next: Offset) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).insert(self.partition, next);
    }
}
