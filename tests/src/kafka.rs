//! Apache Kafka: a single node that is its own controller.

mod java;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::failure::or_fail;
use crate::temporary::{self, output, tail};
use crate::watchdog::{Signal, Watchdog};
use crate::{announce, port, unique};
use java::Java;

/// How long a start may take.
const LIMIT: Duration = Duration::from_mins(2);
/// Makes the virtual machine small and quick to start; nothing here runs long enough to profit from more.
const JAVA_OPTIONS: [&str; 4] = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
/// The shortest time after which the cluster agrees to take a consumer for dead.
const SESSION: Duration = Duration::from_secs(2);
const CLUSTER_ID: &str = "modelhub-tests-cluster";

/// A test's part of a cluster: the topics and groups whose names begin with its prefix.
#[derive(Debug)]
pub struct Cluster {
    brokers: String,
    topic_prefix: String,
    session_timeout: Duration,
}

impl Cluster {
    /// `host:port`, several divided by commas: `bootstrap.servers`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// What the names of the test's topics and consumer groups begin with. Topics are not created on first use.
    pub fn topic_prefix(&self) -> &str {
        &self.topic_prefix
    }

    /// A short time after which the cluster agrees to take a consumer for dead: `session.timeout.ms`.
    pub fn session_timeout(&self) -> Duration {
        self.session_timeout
    }
}

/// A part of the cluster that this process's tests share, or of the one at `KAFKA_BROKERS` (where its topics stay).
///
/// # Panics
///
/// When the engine cannot be had.
pub async fn cluster() -> Cluster {
    static SHARED: OnceCell<Result<Server, String>> = OnceCell::const_new();
    let server = SHARED
        .get_or_init(async || match env::var("KAFKA_BROKERS") {
            Ok(brokers) => Server::at(brokers).await,
            Err(_) => Server::launch().await,
        })
        .await;
    or_fail(server.as_ref()).cluster()
}

/// Starts an engine of the test's own, whatever `KAFKA_BROKERS` says.
///
/// # Panics
///
/// When the engine cannot be had.
pub async fn start() -> Server {
    or_fail(Server::launch().await)
}

/// An engine. One that a test started ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    brokers: String,
    /// `None` where the cluster is not ours.
    watchdog: Option<Watchdog>,
}

impl Server {
    /// A part of this cluster that no other test has.
    pub fn cluster(&self) -> Cluster {
        // As our own is configured, and what others have by default.
        let session_timeout = if self.watchdog.is_some() { SESSION } else { Duration::from_secs(6) };
        let topic_prefix = format!("{}-", unique::name());
        Cluster { brokers: self.brokers.clone(), topic_prefix, session_timeout }
    }

    /// Kills the engine as a crash would.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn kill9(&self) {
        self.end(Signal::Kill).await;
    }

    /// Shuts the engine down in good order.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn stop(&self) {
        self.end(Signal::Terminate).await;
    }

    /// Starts the engine again after it was stopped or killed: the same port, the same topics.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn start_again(&self) {
        if let Some(watchdog) = &self.watchdog {
            or_fail(watchdog.start());
            or_fail(self.ready(watchdog).await);
        }
    }

    /// Makes the engine stand still: connections stay open, nobody answers.
    pub fn pause(&self) {
        or_fail(self.watchdog.as_ref().map_or(Ok(()), |watchdog| watchdog.signal(Signal::Stop)));
    }

    /// Lets a paused engine go on.
    pub fn resume(&self) {
        or_fail(self.watchdog.as_ref().map_or(Ok(()), |watchdog| watchdog.signal(Signal::Continue)));
    }

    async fn end(&self, signal: Signal) {
        if let Some(watchdog) = &self.watchdog {
            or_fail(watchdog.signal(signal));
            or_fail(watchdog.exit(LIMIT).await.map_err(|error| format!("Apache Kafka: {error}")));
        }
    }

    async fn at(brokers: String) -> Result<Self, String> {
        let metadata = metadata(brokers.clone(), Duration::from_secs(10))
            .await
            .map_err(|error| format!("Apache Kafka at {brokers} (KAFKA_BROKERS) does not answer: {error}"))?;
        let nodes = metadata.brokers().len();
        // The protocol has no request for the version.
        announce::engine("Apache Kafka", &format!("({nodes} nodes, version not told) at {brokers} (KAFKA_BROKERS)"));
        Ok(Self { brokers, watchdog: None })
    }

    async fn launch() -> Result<Self, String> {
        let (broker, controller) = (port(), port());
        let prepare = move || {
            let java = Java::find()?;
            let watchdog = node(&java, broker, controller)?;
            Ok::<_, String>((java, watchdog))
        };
        let (java, watchdog) = spawn_blocking(prepare).await.map_err(|error| error.to_string())??;
        let server = Self { brokers: format!("127.0.0.1:{broker}"), watchdog: None };
        server.ready(&watchdog).await?;
        let version = watchdog.stdout().lines().find_map(|line| {
            let (_, rest) = line.split_once("Kafka version: ")?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        let version = version.ok_or("Apache Kafka came up without telling its version")?;
        let details = format!("{version} (KRaft, one node, Java {}) at {}", java.version, server.brokers);
        announce::engine("Apache Kafka", &details);
        Ok(Self { watchdog: Some(watchdog), ..server })
    }

    /// Waits until the node takes part in its cluster.
    async fn ready(&self, watchdog: &Watchdog) -> Result<(), String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = metadata(self.brokers.clone(), Duration::from_millis(500)).await;
            if answer.as_ref().is_ok_and(|metadata| !metadata.brokers().is_empty()) {
                return Ok(());
            }
            if watchdog.pid().is_none() || Instant::now() > deadline {
                let log = tail(&(watchdog.stdout() + &watchdog.stderr()));
                return Err(format!("Apache Kafka does not come up: {log}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn metadata(brokers: String, limit: Duration) -> Result<Metadata, String> {
    let fetch = move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("reconnect.backoff.max.ms", "100");
        config.create::<BaseConsumer>().and_then(|client| client.fetch_metadata(None, limit))
    };
    spawn_blocking(fetch).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Formats a node's storage in a temporary folder and starts the node.
fn node(java: &Java, broker: u16, controller: u16) -> Result<Watchdog, String> {
    let jars = java::jars()?;
    let folder = temporary::folder()?;
    let program = |class: &str, arguments: &[&str]| {
        let mut command = Command::new(&java.program);
        let log = format!("-Dlog4j2.configurationFile={}", folder.path().join("log4j2.properties").display());
        command.args(JAVA_OPTIONS).arg(log).arg("-cp").arg(jars.join("*")).arg(class).args(arguments);
        command.arg(folder.path().join("server.properties")).current_dir(folder.path());
        command
    };
    let mut storage = program("kafka.tools.StorageTool", &["format", "-t", CLUSTER_ID, "-c"]);
    let server = program("kafka.Kafka", &[]);
    configure(&folder, broker, controller).map_err(|error| format!("{}: {error}", folder.path().display()))?;
    output(&mut storage)?;
    let watchdog = Watchdog::new(&server, folder, Signal::Kill, None)?;
    watchdog.start()?;
    Ok(watchdog)
}

/// Copies and partitions as few as one node can have, no waiting for others who might join, and a session that ends
/// soon after a crash: until then the controller takes a restarted broker for a second one.
fn configure(folder: &TempDir, broker: u16, controller: u16) -> std::io::Result<()> {
    let properties = |data: &Path| {
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{broker}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             offsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms={}\n\
             broker.heartbeat.interval.ms=500\n\
             broker.session.timeout.ms=2000\n",
            data.display(),
            SESSION.as_millis()
        )
    };
    fs::write(folder.path().join("server.properties"), properties(&folder.path().join("data")))?;
    fs::write(folder.path().join("log4j2.properties"), include_str!("kafka/log4j2.properties"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::ClientConfig;
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::consumer::{Consumer, StreamConsumer};
    use rdkafka::message::Message;
    use rdkafka::producer::{FutureProducer, FutureRecord};

    fn config(brokers: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("message.timeout.ms", "30000");
        config
    }

    async fn create(brokers: &str, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = config(brokers).create().expect("a client");
        let topic = NewTopic::new(topic, 3, TopicReplication::Fixed(1));
        let results = admin.create_topics([&topic], &AdminOptions::new()).await.expect("answered");
        for result in results {
            result.expect("created");
        }
    }

    async fn append(brokers: &str, topic: &str, payload: &str) -> i64 {
        let producer: FutureProducer = config(brokers).create().expect("a client");
        let record = FutureRecord::to(topic).key("account").payload(payload);
        producer.send(record, Duration::from_secs(30)).await.expect("acknowledged").offset
    }

    async fn first(brokers: &str, topic: &str) -> String {
        let consumer: StreamConsumer = config(brokers)
            .set("group.id", format!("{topic}-group"))
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a client");
        consumer.subscribe(&[topic]).expect("subscribed");
        let message = tokio::time::timeout(Duration::from_mins(1), consumer.recv()).await;
        let message = message.expect("in time").expect("received");
        String::from_utf8(message.payload().expect("a payload").to_vec()).expect("text")
    }

    #[tokio::test]
    async fn appends_and_reads() {
        let (one, other) = tokio::join!(super::cluster(), super::cluster());
        assert_eq!(one.brokers(), other.brokers());
        assert_ne!(one.topic_prefix(), other.topic_prefix());
        let topic = format!("{}events", one.topic_prefix());
        create(one.brokers(), &topic).await;
        assert_eq!(append(one.brokers(), &topic, "one").await, 0);
        assert_eq!(append(one.brokers(), &topic, "two").await, 1);
        assert_eq!(first(one.brokers(), &topic).await, "one");
    }

    #[tokio::test]
    async fn what_was_acknowledged_survives_a_crash() {
        let server = super::start().await;
        let cluster = server.cluster();
        let topic = format!("{}events", cluster.topic_prefix());
        create(cluster.brokers(), &topic).await;
        append(cluster.brokers(), &topic, "kept").await;
        server.kill9().await;
        server.start_again().await;
        assert_eq!(append(cluster.brokers(), &topic, "after").await, 1);
        server.stop().await;
        server.start_again().await;
        assert_eq!(first(cluster.brokers(), &topic).await, "kept");
    }
}
