//! `Idempotency-Key`: the same request again gets the first one's answer and is charged once, wherever it is sent and
//! whatever dies meanwhile.
//!
//! `MODELHUB_TEST_GATEWAY_KILLS` is how often a gateway is killed (8 unless told).

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::books;
use crate::client::{Answer, Client};
use crate::race;
use crate::system::{System, decimal};
use crate::upstream::{Piece, Script, Upstream};

/// 7 prompt tokens at 1 USD per million and 3 others at 2.
const WHOLE: &str = r#"{"model":"um","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
const HELLO: &str = r#"{"id":"x","model":"um","choices":[{"index":0,"delta":{"content":"hello wo"}}]}"#;
const STOP: &str = r#"{"id":"x","model":"um","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"x","model":"um","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
const ERROR: &str = r#"{"error":{"message":"no","type":"x","param":null,"code":null}}"#;

fn price() -> Decimal {
    Decimal::new(13, 6)
}

fn configuration(base_url: &str, idempotency: &str) -> String {
    format!(
        r#"
        [idempotency]
        {idempotency}

        [[upstreams]]
        name = "scripted"
        base_url = "{base_url}"

        [[models]]
        id = "m"
        upstream = "scripted"
        upstream_model = "um"
        context_tokens = 1000
        max_output_tokens = 1000
        price = {{ input = "1", cached_input = "0.1", output = "2" }}
        "#
    )
}

fn body(stream: bool, text: &str) -> String {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body.to_string()
}

fn data(json: &str) -> Piece {
    Piece::Bytes(format!("data: {json}\n\n").into())
}

fn stream_of(first: Vec<Piece>) -> Script {
    Script::stream(first.into_iter().chain([data(STOP), data(USAGE), data("[DONE]")]).collect())
}

fn slow(script: Script, wait: Duration) -> Script {
    Script { pieces: std::iter::once(Piece::Wait(wait)).chain(script.pieces).collect(), ..script }
}

/// The upstream has been sent so many requests.
async fn is_called(upstream: &Upstream, requests: usize) {
    while upstream.requests() < requests {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn once(client: &Client, key: &str, body: &str) -> Answer {
    client.try_once(key, body.to_owned()).await.expect("an answer")
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"]["code"].as_str().expect("a code").to_owned())
}

fn is_replayed(answer: &Answer) -> bool {
    answer.headers.contains_key("idempotent-replayed")
}

/// The second answer is the first one, and says so.
#[track_caller]
fn assert_replay(first: &Answer, again: &Answer) {
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!((is_replayed(first), again.header("idempotent-replayed")), (false, "true"));
    for name in ["content-type", "x-request-id"] {
        assert_eq!(first.header(name), again.header(name), "{name}");
    }
}

/// What the statement charges, by request; a request is charged once.
async fn charges(system: &System, account: &str) -> BTreeMap<String, Decimal> {
    let statement = system.admin(&["statement", "--account", account]).await;
    let mut charges = BTreeMap::new();
    for entry in statement["entries"].as_array().expect("entries") {
        if entry["detail"]["type"] == "usage.recorded" {
            let id = entry["detail"]["request_id"].as_str().expect("an id").to_owned();
            assert_eq!(charges.insert(id, -decimal(&entry["amount_usd"])), None, "charged twice: {entry}");
        }
    }
    charges
}

/// The statement charges these requests, each its price, and no other.
async fn is_charged(system: &System, account: &str, expected: &[(&Answer, Decimal)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(answer, cost)| (answer.header("x-request-id").to_owned(), *cost)).collect();
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let mut charges = charges(system, account).await;
        charges.retain(|_, cost| !cost.is_zero());
        if charges == expected {
            return;
        }
        assert!(Instant::now() < deadline, "charged {charges:?}, not {expected:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// One system, several gateways of it.
async fn a_repeat_is_answered_as_the_first_was(system: System, upstream: Upstream, gateways: &[&str]) {
    let (account, client) = system.open_account("owner@example.com").await;
    let issued = system.admin(&["issue-key", "--account", &account, "--name", "other"]).await;
    let others_key = issued["secret"].as_str().expect("a key");
    let at = |n: usize| Client::new(gateways[n % gateways.len()], &client.key);

    // Whole and streamed, at once and again, at any gateway.
    upstream.next(Script::json(200, WHOLE));
    let whole = once(&at(0), "k1", &body(false, "hi")).await;
    assert_eq!((whole.status, whole.charge().cost), (StatusCode::OK, price()));
    assert_replay(&whole, &once(&at(0), "k1", &body(false, "hi")).await);
    assert_replay(&whole, &once(&at(1), "k1", &body(false, "hi")).await);
    upstream.next(stream_of(vec![data(HELLO)]));
    let streamed = once(&at(1), "k2", &body(true, "hi")).await;
    assert_eq!(streamed.charge().cost, price());
    assert!(streamed.body.ends_with("data: [DONE]\n\n"), "{}", streamed.body);
    assert_replay(&streamed, &once(&at(0), "k2", &body(true, "hi")).await);
    assert_eq!(upstream.requests(), 2);

    // Another body is refused, whatever differs; SDKs are told not to try again.
    for other in [body(false, "ho"), body(true, "hi"), format!("{} ", body(false, "hi"))] {
        let refused = once(&at(1), "k1", &other).await;
        assert_eq!(code(&refused), (409, "idempotency_key_reused".to_owned()));
        assert_eq!(refused.header("x-should-retry"), "false");
    }
    // Another API key is another scope, also of the same account.
    upstream.next(Script::json(200, WHOLE));
    let others = once(&Client::new(gateways[0], others_key), "k1", &body(false, "ho")).await;
    assert_eq!((others.status, is_replayed(&others)), (StatusCode::OK, false));
    assert_eq!(upstream.requests(), 3);

    // At the same time, at several gateways: one runs, the others wait for its answer.
    for (key, stream) in [("k3", false), ("k4", true)] {
        let answer = if stream { stream_of(vec![data(HELLO)]) } else { Script::json(200, WHOLE) };
        upstream.next(slow(answer, Duration::from_millis(700)));
        let mut repeats = JoinSet::new();
        for n in 0..6 {
            let (client, body) = (at(n), body(stream, "hi"));
            repeats.spawn(async move { once(&client, key, &body).await });
        }
        let answers = repeats.join_all().await;
        assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
        let first = answers.iter().find(|answer| !is_replayed(answer)).expect("the first");
        answers.iter().filter(|answer| is_replayed(answer)).for_each(|again| assert_replay(first, again));
    }
    assert_eq!(upstream.requests(), 5);

    // A client that goes away finds its answer when it asks again.
    upstream.next(stream_of(vec![data(HELLO), Piece::Wait(Duration::from_millis(700)), data(HELLO)]));
    let left = tokio::time::timeout(Duration::from_millis(300), once(&at(0), "k5", &body(true, "hi"))).await;
    assert!(left.is_err(), "{left:?}");
    let found = once(&at(1), "k5", &body(true, "hi")).await;
    assert_eq!((is_replayed(&found), found.body.matches("hello wo").count()), (true, 2), "{}", found.body);

    // What was not charged is not kept: a repeat is tried again.
    for failing in [Script::json(500, ERROR), Script::json(400, ERROR), Script::json(429, ERROR)] {
        upstream.next(failing);
        let failed = once(&at(0), "k6", &body(false, "hi")).await;
        assert!(failed.status.is_client_error() || failed.status.is_server_error(), "{}", failed.body);
    }
    let unknown = once(&at(0), "k6", &body(false, "hi").replace(r#""m""#, r#""nobody""#)).await;
    assert_eq!(code(&unknown), (404, "model_not_found".to_owned()));
    upstream.next(Script::json(200, WHOLE));
    let tried_again = once(&at(1), "k6", &body(false, "hi")).await;
    assert_eq!((tried_again.status, is_replayed(&tried_again)), (StatusCode::OK, false));
    // What broke off in the middle was charged, and is what a repeat gets.
    upstream.next(Script::stream(vec![data(HELLO), Piece::Break]));
    let broken = once(&at(0), "k7", &body(true, "hi")).await;
    assert!(broken.body.contains(r#"data: {"error":"#), "{}", broken.body);
    assert_replay(&broken, &once(&at(1), "k7", &body(true, "hi")).await);

    // Too large to be kept, as it is here, is charged once all the same.
    upstream.next(Script::json(200, &WHOLE.replace('x', &"x".repeat(5_000))));
    let large = once(&at(0), "k8", &body(false, "hi")).await;
    assert_eq!(large.status, StatusCode::OK);
    let refused = once(&at(1), "k8", &body(false, "hi")).await;
    assert_eq!(code(&refused), (409, "idempotency_answer_not_kept".to_owned()));
    assert_eq!(refused.header("x-request-id"), large.header("x-request-id"));

    // The first takes longer than a repeat waits.
    upstream.next(slow(Script::json(200, WHOLE), Duration::from_secs(5)));
    let first = tokio::spawn({
        let client = at(0);
        async move { once(&client, "k9", &body(false, "hi")).await }
    });
    is_called(&upstream, 13).await;
    let refused = once(&at(1), "k9", &body(false, "hi")).await;
    assert_eq!((code(&refused), refused.header("retry-after")), ((409, "idempotency_in_progress".to_owned()), "1"));
    let first = first.await.expect("an answer");
    assert_replay(&first, &once(&at(1), "k9", &body(false, "hi")).await);

    assert_eq!(code(&once(&at(0), "", &body(false, "hi")).await), (400, "invalid_request".to_owned()));
    // k3, k4 and k5 are charged too; who was first there is told by their replays.
    let (k3, k4) = (once(&at(0), "k3", &body(false, "hi")).await, once(&at(0), "k4", &body(true, "hi")).await);
    assert_eq!(upstream.requests(), 13);
    let mut expected: Vec<_> = [&whole, &streamed, &others, &k3, &k4, &found, &tried_again, &large, &first]
        .map(|answer| (answer, price()))
        .into();
    // Two tokens of output by estimate, and no prompt.
    expected.push((&broken, Decimal::new(4, 6)));
    is_charged(&system, &account, &expected).await;
    let report = books::applied(&system).await;
    assert_eq!(report["clean"], true, "{report:#}");
}

const LIMITS: &str = "max_answer_bytes = 4096\nwait_ms = 2500";

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_at_an_embedded_system_is_answered_as_the_first_was() {
    let (upstream, base_url) = Upstream::start().await;
    let system = System::embedded_with(&configuration(&base_url, LIMITS)).await;
    let gateways = [system.address.clone()];
    a_repeat_is_answered_as_the_first_was(system, upstream, &gateways.each_ref().map(String::as_str)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_at_another_gateway_is_answered_as_the_first_was() {
    let (upstream, base_url) = Upstream::start().await;
    let configuration = configuration(&base_url, LIMITS);
    let system = System::distributed_on(tests::kafka::cluster().await, &configuration, &[]).await;
    let second = system.another_gateway().await;
    let gateways = [system.address.clone(), second.address.clone()];
    a_repeat_is_answered_as_the_first_was(system, upstream, &gateways.each_ref().map(String::as_str)).await;
}

/// What a database holds of answers tells nothing of them: neither keys, questions nor answers.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_with_the_database_can_read_an_answer() {
    let (upstream, base_url) = Upstream::start().await;
    let system = System::embedded_with(&configuration(&base_url, "")).await;
    let (_, client) = system.open_account("owner@example.com").await;
    upstream.next(Script::json(200, &WHOLE.replace('x', "a-secret-answer")));
    let first = once(&client, "a-secret-key", &body(false, "a-secret-question")).await;
    assert!(first.body.contains("a-secret-answer"), "{}", first.body);
    system.stop(crate::system::Stop::Terminate).await;
    for file in std::fs::read_dir(system.data_dir()).expect("a folder") {
        let path = file.expect("a file").path();
        let bytes = std::fs::read(&path).expect("bytes");
        for secret in ["a-secret-answer", "a-secret-key", "a-secret-question", &client.key] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
    }
    // It is kept across restarts, and by a rebuild.
    system.run(&["rebuild", "ledger"]).await;
    system.start_again().await;
    assert_replay(&first, &once(&client, "a-secret-key", &body(false, "a-secret-question")).await);
}

/// Sends a request until it is answered, as a client does that repeats what failed.
async fn until_answered(gateways: &[Client], key: &str, body: &str, mut turn: usize) -> Answer {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let answer = gateways[turn % gateways.len()].try_once(key, body.to_owned()).await;
        turn += 1;
        match answer {
            Some(answer) if answer.status == StatusCode::OK && answer.charge().completion > 0 => return answer,
            Some(answer) => assert!(
                answer.status == StatusCode::CONFLICT || answer.status.is_server_error(),
                "{}: {}",
                answer.status,
                answer.body
            ),
            None => {}
        }
        assert!(Instant::now() < deadline, "{key} was never answered");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Gateways are killed at any moment; every request is sent again until it has an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_until_it_is_answered_is_charged_once_whatever_dies() {
    const CLIENTS: usize = 6;
    let kills = std::env::var("MODELHUB_TEST_GATEWAY_KILLS").map_or(8, |kills| kills.parse().expect("a number"));
    let configuration = "[idempotency]\nhold_ms = 1000\n";
    let system = System::distributed_on(tests::kafka::cluster().await, configuration, &[]).await;
    let second = system.another_gateway().await;
    let (account, client) = system.open_account("owner@example.com").await;
    system.admin(&["grant", "--account", &account, "--amount", "1000", "--reason", "load"]).await;

    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let gateways = [&system.address, &second.address].map(|address| Client::new(address, &client.key));
        let stop = stop.clone();
        clients.spawn(async move {
            let mut answers = Vec::new();
            for turn in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let mut request = json!({
                    "model": "qwen-turbo",
                    "messages": [{"role": "user", "content": "word ".repeat((n + turn) % 40 + 1)}],
                });
                if turn % 2 == 0 {
                    request["stream"] = json!(true);
                    request["stream_options"] = json!({"include_usage": true});
                }
                let key = format!("client {n}, request {turn}");
                answers.push((key.clone(), until_answered(&gateways, &key, &request.to_string(), n + turn).await));
            }
            answers
        });
    }
    // Deterministic, and unlike each other.
    let mut random = 0x9e37_79b9_u64;
    for kill in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sleep(Duration::from_millis(300 + (random >> 55))).await;
        let (process, address) = match kill % 2 {
            0 => (system.service("gateway"), &system.address),
            _ => (&second.process, &second.address),
        };
        process.kill9().await;
        process.start_again();
        process.answers(address, "/readyz").await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let answers: Vec<(String, Answer)> = clients.join_all().await.into_iter().flatten().collect();

    // Whatever the spools hold is drained by now, or soon.
    let deadline = Instant::now() + Duration::from_mins(1);
    let charged = loop {
        let charged = charges(&system, &account).await;
        let missing = answers.iter().filter(|(_, answer)| !charged.contains_key(answer.header("x-request-id"))).count();
        if missing == 0 {
            break charged;
        }
        assert!(Instant::now() < deadline, "{missing} of {} answers are not charged", answers.len());
        sleep(Duration::from_millis(200)).await;
    };
    let paid = charged.values().filter(|cost| !cost.is_zero()).count();
    println!("{kills} kills, {} requests answered, {paid} charged", answers.len());
    assert_eq!(paid, answers.len(), "a request is charged once, however often it was sent");
    for (key, answer) in &answers {
        // The demo model counts alike whenever it is asked.
        assert_eq!(charged[answer.header("x-request-id")], answer.charge().cost, "{key}");
    }
    let report: Value = books::applied(&system).await;
    assert_eq!(report["clean"], true, "{report:#}");
}

/// Two gateways, of which each thinks that the request is its own: both have run it, and one of them is charged.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_two_gateways_ran_is_charged_once() {
    let (upstream, base_url) = Upstream::start().await;
    let configuration = configuration(&base_url, "hold_ms = 1000");
    let system = System::distributed_on(tests::kafka::cluster().await, &configuration, &[]).await;
    let second = system.another_gateway().await;
    let (account, client) = system.open_account("owner@example.com").await;
    let gateways = [&system.address, &second.address].map(|address| Client::new(address, &client.key));
    let dearer = WHOLE.replace(r#""completion_tokens":3"#, r#""completion_tokens":4"#);
    let begin = |key: &'static str| {
        let client = gateways[0].clone();
        upstream.next(slow(Script::json(200, WHOLE), Duration::from_secs(1)));
        tokio::spawn(async move { once(&client, key, &body(false, "hi")).await })
    };

    // The event is durable, and the ledger can't be told of the answer; then the gateway dies.
    let running = begin("k1");
    is_called(&upstream, 1).await;
    system.service("ledger").pause();
    let first = running.await.expect("an answer");
    assert_eq!((first.status, first.charge().cost), (StatusCode::OK, price()));
    system.service("gateway").kill9().await;
    // It must not find in its sockets what it was told while it stood still.
    system.service("ledger").kill9().await;
    system.start_service_again("ledger").await;
    system.start_service_again("gateway").await;
    upstream.next(Script::json(200, &dearer));
    let again = once(&gateways[1], "k1", &body(false, "hi")).await;
    assert_eq!((again.status, is_replayed(&again), again.charge().completion), (StatusCode::OK, false, 4));
    assert_eq!(again.header("x-request-id"), first.header("x-request-id"));
    assert_replay(&again, &once(&gateways[0], "k1", &body(false, "hi")).await);

    // The first one stands still while the second runs it, and then goes on.
    let running = begin("k2");
    is_called(&upstream, 3).await;
    system.service("gateway").pause();
    upstream.next(Script::json(200, &dearer));
    let taken_over = once(&gateways[1], "k2", &body(false, "hi")).await;
    assert_eq!((taken_over.status, is_replayed(&taken_over)), (StatusCode::OK, false));
    system.service("gateway").resume();
    let late = running.await.expect("an answer");
    assert_eq!((late.status, late.header("x-request-id")), (StatusCode::OK, taken_over.header("x-request-id")));
    assert_replay(&taken_over, &once(&gateways[0], "k2", &body(false, "hi")).await);

    // Charged is what posted first, and of what the other gateway set aside for it nothing stays so: neither starts again.
    is_charged(&system, &account, &[(&first, price()), (&taken_over, Decimal::new(15, 6))]).await;
    race::nothing_is_stranded(&system).await;
    sleep(Duration::from_secs(1)).await;
    is_charged(&system, &account, &[(&first, price()), (&taken_over, Decimal::new(15, 6))]).await;
    let report = books::applied(&system).await;
    assert_eq!(report["clean"], true, "{report:#}");
}
