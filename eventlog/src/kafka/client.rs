//! librdkafka's clients, set up.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::FutureProducer;
use rdkafka::{ClientContext, Offset as KafkaOffset};
use schemas::{Offset, PartitionId};
use tracing::{debug, info, warn};

use super::KafkaConfig;

/// Passes on what librdkafka has to say.
#[derive(Clone, Copy)]
pub(super) struct LoggingContext;

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => warn!(target: "librdkafka", "{fac}: {log_message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(target: "librdkafka", "{fac}: {log_message}"),
            RDKafkaLogLevel::Debug => debug!(target: "librdkafka", "{fac}: {log_message}"),
        }
    }

    /// Several a second while no broker can be reached. Whoever waits for an answer says so once.
    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ConsumerContext for LoggingContext {}

/// A partition's number as librdkafka has it: signed, as its `-1` is any partition.
pub(super) fn partition_number(partition: PartitionId) -> i32 {
    i32::try_from(partition.0).unwrap_or(i32::MAX)
}

/// The place to start from.
pub(super) fn place(offset: Offset) -> KafkaOffset {
    KafkaOffset::Offset(i64::try_from(offset.0).unwrap_or(i64::MAX))
}

/// Whether the log does not have the position that a consumer was to start from.
pub(super) fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange))
}

pub(super) fn base(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers).set("client.id", &config.client_id);
    // By default a broker that was away for a while is looked for every 10 s only: what waits in spools would wait longer.
    client.set("reconnect.backoff.max.ms", "1000");
    client
}

/// For how long a record is tried to be delivered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// Long enough for a partition to get a new leader; whoever has to wait longer appends again.
    Bounded,
    /// Until it is there. A record that is given up and appended again would lose its turn.
    Endless,
}

pub(super) fn producer(config: &KafkaConfig, patience: Patience) -> KafkaResult<FutureProducer<LoggingContext>> {
    let milliseconds = match patience {
        Patience::Bounded => "30000",
        // librdkafka's word for no limit.
        Patience::Endless => "0",
    };
    base(config)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("delivery.timeout.ms", milliseconds)
        // Appends that come this close together share a request.
        .set("linger.ms", "2")
        // What may wait for a broker, in memory; beyond that, appends are refused.
        .set("queue.buffering.max.kbytes", "65536")
        // Above the broker's default: the topic's own limit is what decides.
        .set("message.max.bytes", "2000000")
        .create_with_context(LoggingContext)
}

/// A client that asks about the topic, and reads nothing.
pub(super) fn inspector(config: &KafkaConfig) -> KafkaResult<BaseConsumer<LoggingContext>> {
    base(config).set("allow.auto.create.topics", "false").create_with_context(LoggingContext)
}

/// A group is one topic's.
pub(super) fn group_id(config: &KafkaConfig, group: &str) -> String {
    format!("{}.{group}", config.topic)
}

/// What every consumer of records needs: positions come from the sink or the caller, so that a position which the log
/// doesn't have is an error, never a reason to start elsewhere.
pub(super) fn consumer(config: &KafkaConfig, group: &str) -> ClientConfig {
    let mut client = base(config);
    let session = config.session_timeout.as_millis();
    client
        .set("group.id", group_id(config, group))
        .set("allow.auto.create.topics", "false")
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", session.to_string())
        // How soon a member learns that another one came or left; several fit into a session.
        .set("heartbeat.interval.ms", (session / 4).min(1_000).to_string())
        // How much waits in memory for a partition's sink, and how soon it is filled up again.
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "20")
        // A partition that is new, or gone to another offset, waits for the fetch under way to end.
        .set("fetch.wait.max.ms", "100");
    client
}
