//! Metering that can't lose (I10), on a real broker and the real binary: every answer that a client received whole is
//! billed exactly once, whatever dies meanwhile, and what could not be billed is refused before any upstream is called.
//!
//! `MODELHUB_TEST_OUTAGE_SECONDS` is how long the broker is away (20 unless told), `MODELHUB_TEST_GATEWAY_KILLS` how often
//! the gateway is killed (8 unless told).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::spool::{self, Drained, Spool};
use eventlog::{Bounds, EventLog as _, Record};
use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode};
use rust_decimal::Decimal;
use schemas::{Offset, PartitionId, Position};
use serde_json::{Value, json};
use sqlx::query_scalar;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::books;
use crate::client::{Answer, Client};
use crate::system::{System, decimal};
use crate::upstream::{Script, Upstream};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}")))
}

/// What clients received whole: each request's id and its price.
type Received = BTreeMap<String, Decimal>;

/// Clients that send one request after the other, whole and streamed by turns, until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    received: Arc<Mutex<Received>>,
    refused: Arc<Mutex<Vec<String>>>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(client: &Client, clients: usize) -> Self {
        let mut load =
            Self { stop: Arc::default(), received: Arc::default(), refused: Arc::default(), clients: JoinSet::new() };
        for n in 0..clients {
            let (client, stop) =
                (Client::new(client.base.trim_start_matches("http://"), &client.key), load.stop.clone());
            let (received, refused) = (load.received.clone(), load.refused.clone());
            load.clients.spawn(async move {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    match ask(&client, n + turn).await {
                        None => sleep(Duration::from_millis(20)).await,
                        Some(answer) if answer.status == StatusCode::OK => {
                            if is_whole(&answer) {
                                let id = answer.header("x-request-id").to_owned();
                                received.lock().unwrap().insert(id, answer.charge().cost);
                            }
                            sleep(Duration::from_millis(10)).await;
                        }
                        Some(answer) => refused.lock().unwrap().push(answer.body),
                    }
                }
            });
        }
        load
    }

    fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Waits until clients have received this many more answers.
    async fn flows(&self, more: usize) {
        let (from, deadline) = (self.count(), Instant::now() + Duration::from_mins(1));
        while self.count() < from + more {
            let refused = self.refused.lock().unwrap().last().cloned();
            assert!(Instant::now() < deadline, "answers stopped at {}; refused: {refused:?}", self.count());
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(mut self) -> (Received, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("a client");
        }
        let received = self.received.lock().unwrap().clone();
        let refused = self.refused.lock().unwrap().clone();
        (received, refused)
    }
}

async fn ask(client: &Client, n: usize) -> Option<Answer> {
    let mut request = json!({
        "model": "qwen-turbo",
        "max_tokens": n % 30 + 1,
        "messages": [{"role": "user", "content": "word ".repeat(n % 40 + 1)}],
    });
    if n.is_multiple_of(2) {
        request["stream"] = json!(true);
        request["stream_options"] = json!({"include_usage": true});
    }
    client.try_send(Method::POST, "/v1/chat/completions", request.to_string()).await
}

/// Whether an answer's last byte is there. A stream may also have ended in an error event.
fn is_whole(answer: &Answer) -> bool {
    answer.body.ends_with("data: [DONE]\n\n") || serde_json::from_str::<Value>(&answer.body).is_ok()
}

/// Every request in `received` is charged exactly once and at its price, nobody is charged twice, and the books agree.
async fn is_billed_exactly_once(system: &System, account: &str, received: &Received) -> usize {
    let deadline = Instant::now() + Duration::from_mins(3);
    let charges = loop {
        let statement = system.admin(&["statement", "--account", account]).await;
        let mut charges: BTreeMap<String, Decimal> = BTreeMap::new();
        for entry in statement["entries"].as_array().expect("entries") {
            if entry["detail"]["type"] == "usage.recorded" {
                let id = entry["detail"]["request_id"].as_str().expect("an id").to_owned();
                assert_eq!(charges.insert(id, -decimal(&entry["amount_usd"])), None, "charged twice: {entry}");
            }
        }
        let missing: Vec<_> = received.keys().filter(|id| !charges.contains_key(*id)).collect();
        if missing.is_empty() {
            break charges;
        }
        assert!(Instant::now() < deadline, "{} of {} are not charged: {missing:?}", missing.len(), received.len());
        sleep(Duration::from_millis(500)).await;
    };
    for (id, cost) in received {
        assert_eq!(charges[id], *cost, "request {id}");
    }
    let report = books::applied(system).await;
    assert_eq!(report["clean"], true, "{report:#}");
    charges.len()
}

/// Waits until the ledger has posted this many requests.
async fn are_posted(system: &System, requests: usize) {
    let pool = books::postgres(system).await;
    let deadline = Instant::now() + Duration::from_mins(3);
    loop {
        let posted = query_scalar::<_, i64>("SELECT count(*) FROM postings WHERE event_type = 'usage.recorded'");
        let posted = posted.fetch_one(&pool).await.expect("a count");
        if usize::try_from(posted).expect("a count") >= requests {
            break;
        }
        assert!(Instant::now() < deadline, "{posted} of {requests} requests are posted");
        sleep(Duration::from_millis(50)).await;
    }
    pool.close().await;
}

/// The resident memory of a process, in kilobytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn is_ready(client: &Client) -> StatusCode {
    client.send(Method::GET, "/readyz", "").await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_flow_while_the_broker_is_away_and_are_billed_when_it_is_back() {
    let away = Duration::from_secs(setting("MODELHUB_TEST_OUTAGE_SECONDS", 20));
    let kafka = tests::kafka::start().await;
    let system = System::distributed_on(kafka.cluster(), "", &[]).await;
    let (account, client) = system.open_account("owner@example.com").await;
    system.admin(&["grant", "--account", &account, "--amount", "1000", "--reason", "load"]).await;
    let gateway = system.service("gateway").pid().expect("it runs");
    let load = Load::start(&client, 8);
    load.flows(100).await;

    // It stands still: connections stay open, nobody answers.
    kafka.pause();
    let (before, begun) = ((load.count(), memory(gateway)), Instant::now());
    while begun.elapsed() < away {
        load.flows(50).await;
        assert_eq!(is_ready(&client).await, StatusCode::OK);
    }
    let after = (load.count(), memory(gateway));
    println!(
        "away for {:?}: {} answers, memory of the gateway {} kB before and {} kB after",
        begun.elapsed(),
        after.0 - before.0,
        before.1,
        after.1
    );
    kafka.resume();
    let resumed = Instant::now();
    are_posted(&system, after.0).await;
    println!("all of that is posted {:?} after it went on", resumed.elapsed());
    load.flows(50).await;

    // It dies and comes back; the gateway is restarted while it is gone, and serves before it has seen a broker.
    kafka.kill9().await;
    load.flows(50).await;
    system.service("gateway").kill9().await;
    system.start_service_again("gateway").await;
    load.flows(50).await;
    kafka.start_again().await;
    load.flows(50).await;

    let (received, refused) = load.stop().await;
    assert_eq!(refused, Vec::<String>::new());
    let charged = is_billed_exactly_once(&system, &account, &received).await;
    println!("{} whole answers, {charged} requests charged", received.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_has_billed_every_answer_that_was_whole() {
    let kills = setting("MODELHUB_TEST_GATEWAY_KILLS", 8);
    let system = System::distributed().await;
    let (account, client) = system.open_account("owner@example.com").await;
    system.admin(&["grant", "--account", &account, "--amount", "1000", "--reason", "load"]).await;
    let load = Load::start(&client, 8);
    // Deterministic, and unlike each other.
    let mut random = 0x9e37_79b9_u64;
    for kill in 0..kills {
        load.flows(20).await;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sleep(Duration::from_millis(random >> 55)).await;
        system.service("gateway").kill9().await;
        println!("kill {kill}: {} whole answers so far", load.count());
        system.start_service_again("gateway").await;
    }
    load.flows(20).await;
    let (received, refused) = load.stop().await;
    assert_eq!(refused, Vec::<String>::new());
    let charged = is_billed_exactly_once(&system, &account, &received).await;
    println!("{kills} kills, {} whole answers, {charged} requests charged", received.len());
}

/// Where drained records got to, in the order in which that was told.
#[derive(Default)]
struct Places(Mutex<Vec<(Record, Position)>>);

impl Drained for Places {
    fn drained(&self, record: &Record, position: Position) {
        self.0.lock().unwrap().push((record.clone(), position));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_is_drained_in_order_through_stalls_and_crashes_of_the_broker() {
    const RECORDS: usize = 20_000;
    let kafka = tests::kafka::start().await;
    let cluster = kafka.cluster();
    let config = KafkaConfig {
        brokers: cluster.brokers().to_owned(),
        topic: format!("{}spooled", cluster.topic_prefix()),
        partitions: 3,
        replication: 1,
        client_id: "tests".to_owned(),
        session_timeout: Duration::from_secs(10),
    };
    let log = Arc::new(KafkaLog::connect_patiently(config).await.expect("a log"));
    let folder = tempfile::tempdir().expect("a folder");
    let spool = Arc::new(Spool::open(folder.path(), spool::Config::new(64 << 20), |_| {}).expect("a spool"));
    let (places, stop) = (Arc::new(Places::default()), CancellationToken::new());
    let drain = {
        let (spool, log, places, stop) = (Arc::clone(&spool), log.clone(), places.clone(), stop.clone());
        tokio::spawn(async move { spool.drain(log, places, stop).await })
    };
    let begun = Instant::now();
    let appends = stream::iter(0..RECORDS).map(|n| {
        let (payload, key) = (format!("{n:0>700}").into_bytes().into(), books::account(n as u128 % 7));
        let spool = Arc::clone(&spool);
        async move {
            let room = spool.reserve(700).await.expect("room");
            spool.append(room, Record { key, payload }).await.expect("durable");
        }
    });
    let trouble = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(200)).await;
            kafka.pause();
            sleep(Duration::from_secs(1)).await;
            kafka.resume();
        }
        kafka.kill9().await;
        kafka.start_again().await;
    };
    let append = async {
        appends.buffered(64).collect::<Vec<()>>().await;
        let took = begun.elapsed();
        println!("{RECORDS} appends in {took:?}");
    };
    tokio::join!(append, trouble);
    stop.cancel();
    timeout(Duration::from_mins(2), drain).await.expect("drained").expect("a drain");

    let told = std::mem::take(&mut *places.0.lock().unwrap());
    assert_eq!(told.len(), RECORDS, "each is told once");
    let mut at = BTreeMap::new();
    for (record, position) in &told {
        let before = at.insert(record.key, position.offset);
        assert!(before < Some(position.offset), "{} went from {before:?} to {}", record.key, position.offset);
    }
    let mut found: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for partition in (0..3).map(PartitionId) {
        let (mut from, end) = (Offset(0), log.end(partition).await.expect("an end"));
        while from < end {
            let batch = log.read(partition, from, Bounds::default()).await.expect("a batch");
            batch.records.iter().for_each(|record| *found.entry(record.payload.to_vec()).or_default() += 1);
            from = batch.next;
        }
    }
    assert_eq!(found.len(), RECORDS);
    for (record, position) in &told {
        let batch = Bounds { records: 1, bytes: 1 };
        if position.offset.0.is_multiple_of(500) {
            let there = log.read(position.partition, position.offset, batch).await.expect("a record");
            assert_eq!(there.records[0].payload, record.payload, "it is not where it was told to be");
        }
    }
}

/// A model of which each usage event takes two and a half kilobytes, so that a spool is full soon.
fn long_name() -> String {
    "m".repeat(1_900)
}

/// A system with a broker and an upstream of its own, and these variables.
async fn with_upstream(variables: &[(&str, String)]) -> (tests::kafka::Server, System, Upstream, String, Client) {
    let kafka = tests::kafka::start().await;
    let (upstream, base_url) = Upstream::start().await;
    let configuration = format!(
        r#"
        [[upstreams]]
        name = "scripted"
        base_url = "{base_url}"

        [[models]]
        id = "{}"
        upstream = "scripted"
        upstream_model = "um"
        context_tokens = 1000
        max_output_tokens = 10
        price = {{ input = "1", cached_input = "1", output = "1" }}
        "#,
        long_name()
    );
    let system = System::distributed_on(kafka.cluster(), &configuration, variables).await;
    let (account, client) = system.open_account("owner@example.com").await;
    (kafka, system, upstream, account, client)
}

/// One request to the long model.
async fn ask_long(client: &Client, upstream: &Upstream) -> Answer {
    const ANSWER: &str = r#"{"model":"um","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    upstream.next(Script::json(200, ANSWER));
    let body = json!({"model": long_name(), "messages": [{"role": "user", "content": "x"}]});
    client.send(Method::POST, "/v1/chat/completions", body.to_string()).await
}

/// Sends requests until one is refused; gives what was received and the refusal.
async fn until_refused(client: &Client, upstream: &Upstream, received: &mut Received) -> Answer {
    for _ in 0..10_000 {
        let answer = ask_long(client, upstream).await;
        if answer.status != StatusCode::OK {
            return answer;
        }
        received.insert(answer.header("x-request-id").to_owned(), answer.charge().cost);
    }
    panic!("never refused");
}

/// Refuses with this code, says when to try again, and calls nobody.
async fn refuses(client: &Client, upstream: &Upstream, refused: &Answer, code: &str) {
    let called = upstream.requests();
    for answer in [refused, &ask_long(client, upstream).await, &ask_long(client, upstream).await] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().expect("text").contains("nothing is charged"), "{error}");
    }
    let ready = client.send(Method::GET, "/readyz", "").await;
    assert_eq!((ready.status, &ready.json()["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(code)));
    assert_eq!(upstream.requests(), called, "an upstream was called for a request that was refused");
}

/// Sends requests until one is answered.
async fn until_answered(client: &Client, upstream: &Upstream, received: &mut Received) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let answer = ask_long(client, upstream).await;
        if answer.status == StatusCode::OK {
            received.insert(answer.header("x-request-id").to_owned(), answer.charge().cost);
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_before_any_upstream_call_and_loses_nothing() {
    let (kafka, system, upstream, account, client) =
        with_upstream(&[("MODELHUB_SPOOL__MAX_BYTES", (1 << 20).to_string())]).await;
    let mut received = Received::new();
    kafka.pause();
    let refused = until_refused(&client, &upstream, &mut received).await;
    assert!(received.len() > 200, "{} requests filled it", received.len());
    assert_eq!(upstream.requests(), received.len());
    refuses(&client, &upstream, &refused, "spool_full").await;
    // A restart finds it as full.
    system.service("gateway").kill9().await;
    system.service("gateway").start_again();
    system.service("gateway").answers(&system.address, "/healthz").await;
    let client = Client::new(&system.address, &client.key);
    let refused = until_refused(&client, &upstream, &mut received).await;
    refuses(&client, &upstream, &refused, "spool_full").await;
    kafka.resume();
    until_answered(&client, &upstream, &mut received).await;
    assert_eq!(is_billed_exactly_once(&system, &account, &received).await, received.len());
}

/// A file system of 64 MiB, for as long as this value lives.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "modelhub-tests"]).arg(folder.path());
        let output = mount.output().expect("mount");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "a small tmpfs can't be mounted; run this test as root: {}", why.trim());
        Self(folder)
    }

    /// Takes all but this much of its room.
    fn fill(&self, leave: usize) {
        std::fs::write(self.0.path().join("ballast"), vec![0; (64 << 20) - leave]).expect("room");
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).expect("the ballast");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: whatever has a file open in it ends soon.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_before_any_upstream_call_and_loses_nothing() {
    let disk = Tmpfs::mount();
    let spool: &Path = &disk.0.path().join("spool");
    let (kafka, system, upstream, account, client) = with_upstream(&[
        ("MODELHUB_SPOOL__DIR", spool.display().to_string()),
        ("MODELHUB_SPOOL__MAX_BYTES", (16 << 20).to_string()),
    ])
    .await;
    let mut received = Received::new();
    until_answered(&client, &upstream, &mut received).await;
    // Room for one more segment, and a part of another.
    let used: u64 = std::fs::read_dir(spool).expect("a folder").map(|f| f.unwrap().metadata().unwrap().len()).sum();
    disk.fill(usize::try_from(used).unwrap() + (3 << 19));
    kafka.pause();
    let refused = until_refused(&client, &upstream, &mut received).await;
    assert!(received.len() > 200, "{} requests filled it", received.len());
    assert_eq!(upstream.requests(), received.len());
    refuses(&client, &upstream, &refused, "usage_not_recordable").await;
    // Room on the disk is enough; the broker is still away.
    disk.free();
    until_answered(&client, &upstream, &mut received).await;
    kafka.resume();
    assert_eq!(is_billed_exactly_once(&system, &account, &received).await, received.len());
    system.stop(crate::system::Stop::Terminate).await;
}
