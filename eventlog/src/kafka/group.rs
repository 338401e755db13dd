//! A member of a consumer group: it runs the partitions that the group gives it, as long as it has them.
//!
//! librdkafka reports what the group decides, and waits until it is told that it was done. What is being applied is let
//! finish before its partition is given up; the loops of the other partitions stay (the cooperative protocol).

use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use schemas::PartitionId;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::KafkaConfig;
use super::client::{self, LoggingContext, partition_number, place};
use super::source::{GroupConsumer, KafkaSource, Progress};
use super::topic::{Topic, blocking};
use crate::run::Loops;
use crate::{LogError, Sink};

/// How often the group is told how far the sinks have got.
const PROGRESS: Duration = Duration::from_secs(1);

/// Errors that come closer together than this are one trouble, and one line in the log.
const QUIET: Duration = Duration::from_mins(1);

/// What the group decided.
enum Rebalance {
    Assigned(Vec<PartitionId>),
    Revoked(Vec<PartitionId>),
}

/// Hands the group's decisions to the member.
pub(super) struct GroupContext(mpsc::UnboundedSender<Rebalance>);

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        LoggingContext.log(level, fac, log_message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        LoggingContext.error(error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let elements = partitions.elements();
        let ids =
            elements.iter().filter_map(|element| u32::try_from(element.partition()).ok().map(PartitionId)).collect();
        let decision = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assigned(ids),
            _ => Rebalance::Revoked(ids),
        };
        if self.0.send(decision).is_err() {
            // The member has left, and its consumer is being closed.
            if let Err(error) = consumer.unassign() {
                warn!(%error, "can't give up the partitions while leaving the group");
            }
        }
    }

    fn commit_callback(&self, outcome: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = outcome {
            debug!(%error, "the group was not told how far the sink is");
        }
    }
}

/// Joins the group and runs what it is given, until `stop`.
pub(super) async fn run(
    config: &KafkaConfig,
    topic: &Topic,
    group: &str,
    sink: Arc<dyn Sink>,
    stop: CancellationToken,
) -> Result<(), LogError> {
    let fail =
        |error| LogError::Unavailable(format!("can't join group {group:?} of topic {:?}: {error}", config.topic));
    let (decided, decisions) = mpsc::unbounded_channel();
    let consumer: GroupConsumer =
        client::consumer(config, group).create_with_context(GroupContext(decided)).map_err(fail)?;
    consumer.subscribe(&[topic.name()]).map_err(fail)?;
    let mut member = Member {
        topic: topic.clone(),
        loops: Loops::new(sink),
        progress: Progress::default(),
        last_error: None,
        decisions,
        consumer: Arc::new(consumer),
    };
    let outcome = tokio::select! {
        biased;
        outcome = member.serve(&stop) => outcome,
        error = topic.changed() => Err(error),
    };
    let outcome = outcome.and(member.loops.stop_all().await);
    member.tell_progress();
    // Leaving the group waits for the broker.
    outcome.and(blocking(move || drop(member)).await)
}

struct Member {
    topic: Topic,
    loops: Loops,
    progress: Progress,
    last_error: Option<Instant>,
    decisions: mpsc::UnboundedReceiver<Rebalance>,
    consumer: Arc<GroupConsumer>,
}

impl Member {
    async fn serve(&mut self, stop: &CancellationToken) -> Result<(), LogError> {
        let mut progress = tokio::time::interval(PROGRESS);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                ended = self.loops.ended() => ended?,
                Some(decision) = self.decisions.recv() => self.follow(decision).await?,
                // Records come by their partitions' queues; here come the group's decisions, and errors.
                message = self.consumer.recv() => match message {
                    Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(LogError::Unavailable(error.to_string())),
                    Err(error) => self.report(&error),
                    Ok(_) => {}
                },
                _ = progress.tick() => self.tell_progress(),
            }
        }
    }

    async fn follow(&mut self, decision: Rebalance) -> Result<(), LogError> {
        match decision {
            Rebalance::Assigned(ids) => {
                info!(topic = self.topic.name(), partitions = ?numbers(&ids), "runs these partitions too");
                self.accept()?;
                // Partitions that the topic did not have are told by `Topic::changed`, which ends this.
                for id in ids.into_iter().filter(|id| id.0 < self.topic.partitions()) {
                    let queue = self.consumer.split_partition_queue(self.topic.name(), partition_number(id));
                    let queue = queue.ok_or_else(|| LogError::Unavailable(format!("partition {id} has no queue")))?;
                    let (consumer, progress) = (Arc::clone(&self.consumer), Arc::clone(&self.progress));
                    self.loops.start(id, KafkaSource::new(id, self.topic.clone(), consumer, queue, progress));
                }
                Ok(())
            }
            Rebalance::Revoked(ids) => {
                let ended = self.loops.stop(&ids).await;
                self.tell_progress();
                info!(topic = self.topic.name(), partitions = ?numbers(&ids), "gives up these partitions");
                ended.and(self.give_up(&ids))
            }
        }
    }

    /// Tells librdkafka that the new partitions are taken on. Each begins to be fetched by its own loop, as soon as that
    /// knows from where.
    fn accept(&self) -> Result<(), LogError> {
        self.consumer
            .incremental_assign(&TopicPartitionList::new())
            .map_err(|error| LogError::Unavailable(format!("can't take on partitions: {error}")))
    }

    /// Tells librdkafka that these partitions are done with.
    fn give_up(&self, ids: &[PartitionId]) -> Result<(), LogError> {
        let fail = |error| LogError::Unavailable(format!("can't give up partitions: {error}"));
        let begun = self.consumer.assignment().map_err(fail)?;
        let mut list = TopicPartitionList::new();
        for number in ids.iter().copied().map(partition_number) {
            // One whose loop never got to know its position is not being fetched.
            if begun.find_partition(self.topic.name(), number).is_some() {
                list.add_partition(self.topic.name(), number);
            }
        }
        self.consumer.incremental_unassign(&list).map_err(fail)
    }

    /// The client goes on trying by itself.
    fn report(&mut self, error: &KafkaError) {
        let now = Instant::now();
        if self.last_error.replace(now).is_none_or(|last| now.duration_since(last) > QUIET) {
            warn!(topic = self.topic.name(), %error, "the group's consumer waits for the brokers");
        }
    }

    /// Only a hint, for who watches the lag: whether it arrives matters to nobody.
    fn tell_progress(&self) {
        let progress = mem::take(&mut *self.progress.lock().unwrap_or_else(PoisonError::into_inner));
        if progress.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (id, next) in progress {
            if let Err(error) = list.add_partition_offset(self.topic.name(), partition_number(id), place(next)) {
                debug!(%error, partition = %id, "an offset can't be committed");
            }
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            debug!(%error, "the group was not told how far the sink is");
        }
    }
}

impl Drop for Member {
    /// A decision that nobody answers would keep the consumer from closing.
    fn drop(&mut self) {
        self.decisions.close();
        while let Ok(decision) = self.decisions.try_recv() {
            let answered = match decision {
                Rebalance::Assigned(_) => self.accept(),
                Rebalance::Revoked(ids) => self.give_up(&ids),
            };
            if let Err(error) = answered {
                warn!(%error, "while leaving the group");
            }
        }
    }
}

fn numbers(ids: &[PartitionId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}
