//! What only Kafka has: other clients, other people's topics, brokers that go away.

use std::sync::Arc;
use std::time::Duration;

use eventlog::kafka::KafkaLog;
use eventlog::{EventLog, LogError};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use schemas::PartitionId;
use tokio_util::sync::CancellationToken;

use super::sink::{CasSink, Store};
use super::stage::{PARTITIONS, Stage, account, append_some, eventually};

async fn config() -> eventlog::kafka::KafkaConfig {
    let Stage::Kafka(config) = Stage::kafka().await else { unreachable!() };
    config
}

fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    client
}

#[tokio::test]
async fn other_clients_put_an_account_into_the_same_partition() {
    let config = config().await;
    let log = KafkaLog::connect(config.clone()).await.unwrap();
    let other: FutureProducer = client(&config.brokers).set("partitioner", "murmur2").create().unwrap();
    for n in 0..50 {
        let key = account(n).to_string();
        let record = FutureRecord::to(&config.topic).key(&key).payload("by another client");
        let delivery = other.send(record, Duration::from_secs(10)).await.unwrap();
        let ours = eventlog::partition::of(account(n), PARTITIONS);
        assert_eq!(PartitionId(delivery.partition.cast_unsigned()), ours, "{key}");
    }
    drop(log);
}

#[tokio::test]
async fn a_topic_that_forgets_is_refused() {
    for (name, value, needed) in [
        ("retention.ms", "604800000", "-1"),
        ("retention.bytes", "1000000", "-1"),
        ("cleanup.policy", "compact", "delete"),
        ("max.message.bytes", "10000", "1000512"),
    ] {
        let config = config().await;
        let admin: AdminClient<DefaultClientContext> = client(&config.brokers).create().unwrap();
        let mut topic = NewTopic::new(&config.topic, 1, TopicReplication::Fixed(1)).set(name, value);
        for (other, value) in [("retention.ms", "-1"), ("retention.bytes", "-1")] {
            if other != name {
                topic = topic.set(other, value);
            }
        }
        admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
        let error = KafkaLog::connect(config.clone()).await.err().unwrap().to_string();
        assert!(error.contains(&format!("{name}={value}")), "{error}");
        assert!(error.contains(&format!("--add-config {name}={needed}")), "{error}");
    }
}

#[tokio::test]
async fn many_connect_at_once_and_the_topics_own_partitions_hold() {
    let config = config().await;
    let connects = (1..=4).map(|partitions| {
        let config = eventlog::kafka::KafkaConfig { partitions, ..config.clone() };
        async { KafkaLog::connect(config).await.unwrap().partitions() }
    });
    let partitions = futures_util::future::join_all(connects).await;
    assert!(partitions.iter().all(|count| *count == partitions[0]), "{partitions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_group_is_told_how_far_the_sink_is() {
    let config = config().await;
    let log = KafkaLog::connect(config.clone()).await.unwrap();
    append_some(&log, 0, 100).await;
    let store = Arc::new(Store::default());
    let stop = CancellationToken::new();
    let watcher: BaseConsumer =
        client(&config.brokers).set("group.id", format!("{}.sinks", config.topic)).create().unwrap();
    let committed = || {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&config.topic, 0, PARTITIONS.cast_signed() - 1);
        // A coordinator that is still starting says so.
        let list = watcher.committed_offsets(list, Duration::from_secs(10)).ok()?;
        Some(list.elements().iter().map(TopicPartitionListElem::offset).collect::<Vec<_>>())
    };
    let ends = futures_util::future::join_all((0..PARTITIONS).map(|id| log.end(PartitionId(id)))).await;
    let ends: Vec<_> = ends.into_iter().map(|end| KafkaOffset::Offset(end.unwrap().0.cast_signed())).collect();
    let run = log.run("sinks", CasSink::new(&store), stop.clone());
    let watch = async {
        eventually("the group's committed offsets are the sink's positions", async || {
            committed().as_ref() == Some(&ends)
        })
        .await;
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(run, watch);
    outcome.unwrap();
}

/// An account's records would be in two partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_given_more_partitions_ends_the_run() {
    let config = config().await;
    let log = KafkaLog::connect(config.clone()).await.unwrap();
    append_some(&log, 0, 20).await;
    let store = Arc::new(Store::default());
    let grow = async {
        eventually("before", async || store.is_level(&log).await).await;
        let admin: AdminClient<DefaultClientContext> = client(&config.brokers).create().unwrap();
        let more = NewPartitions::new(&config.topic, 5);
        admin.create_partitions([&more], &AdminOptions::new()).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(log.run("sinks", CasSink::new(&store), CancellationToken::new()), grow);
    let error = outcome.unwrap_err();
    assert!(matches!(error, LogError::Lost(_)), "{error}");
    let told = format!("topic {:?} at {} has 5 partitions now, and had 3", config.topic, config.brokers);
    assert!(error.to_string().contains(&told), "{error}");
    assert!(error.to_string().contains("Set kafka.topic to a topic with 3 partitions"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_away_and_comes_back_loses_nothing() {
    let server = tests::kafka::start().await;
    let cluster = server.cluster();
    let config = eventlog::kafka::KafkaConfig {
        brokers: cluster.brokers().to_owned(),
        topic: format!("{}events", cluster.topic_prefix()),
        ..config().await
    };
    let log = KafkaLog::connect(config).await.unwrap();
    let store = Arc::new(Store::default());
    let stop = CancellationToken::new();
    let run = log.run("sinks", CasSink::new(&store), stop.clone());
    let outage = async {
        append_some(&log, 0, 50).await;
        eventually("before", async || store.is_level(&log).await).await;
        server.kill9().await;
        // These wait for the broker, within the producer's time.
        tokio::join!(append_some(&log, 50, 50), server.start_again());
        eventually("after", async || store.is_level(&log).await).await;
        store.assert_same(&log).await;
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(run, outage);
    outcome.unwrap();
}
