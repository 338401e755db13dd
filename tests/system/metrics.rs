//! `/metrics`, in both modes: what an operator sees is what happened, and nobody sees it at the public address.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::system::System;

const PATIENCE: Duration = Duration::from_mins(1);

/// Samples by name and labels, as they stand there.
type Samples = BTreeMap<String, String>;

/// What a service tells. Each line is a comment or `name{labels} value`.
async fn samples(system: &System, service: &str) -> Samples {
    let answer = Client::new(&system.metrics_address(service), "").send(Method::GET, "/metrics", "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned())).expect(line))
        .collect()
}

/// Waits until a service tells all of these.
async fn become_true(system: &System, service: &str, expected: &[(&str, String)]) -> Samples {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let samples = samples(system, service).await;
        let wrong: Vec<_> = expected.iter().filter(|(name, value)| samples.get(*name) != Some(value)).collect();
        if wrong.is_empty() {
            return samples;
        }
        let told = |name: &str| samples.get(name);
        let differ: Vec<_> = wrong.iter().map(|(name, value)| (name, value, told(name))).collect();
        assert!(Instant::now() < deadline, "{service}: {differ:?} in {samples:#?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Some requests of each kind; gives what the gateway has to tell of them.
async fn some_requests(system: &System, client: &Client) -> Vec<(&'static str, String)> {
    let request = |stream: bool| {
        let mut request = json!({"model": "qwen-turbo", "messages": [{"role": "user", "content": "Say hello"}]});
        if stream {
            request["stream"] = json!(true);
            request["stream_options"] = json!({"include_usage": true});
        }
        request
    };
    let mut charges = Vec::new();
    for stream in [false, true, false] {
        charges.push(client.complete(&request(stream)).await);
    }
    let unknown = json!({"model": "no-such", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let refused = client.send(Method::POST, "/v1/chat/completions", unknown).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND, "{}", refused.body);
    // The public address does not tell them: neither to nobody nor to a customer.
    let nobody = Client::new(&system.address, "").send(Method::GET, "/metrics", "").await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.send(Method::GET, "/metrics", "").await.status, StatusCode::NOT_FOUND);

    let micro = charges.iter().map(|charge| charge.cost).sum::<Decimal>() * Decimal::from(1_000_000);
    let prompt: u64 = charges.iter().map(|charge| charge.prompt).sum();
    let completion: u64 = charges.iter().map(|charge| charge.completion).sum();
    let of = [
        ("modelhub_requests_total{accuracy=\"measured\",model=\"qwen-turbo\",outcome=\"completed\"}", 3),
        ("modelhub_requests_total{accuracy=\"measured\",model=\"qwen-turbo\",outcome=\"cut\"}", 0),
        ("modelhub_tokens_total{kind=\"prompt\",model=\"qwen-turbo\"}", prompt),
        ("modelhub_tokens_total{kind=\"completion\",model=\"qwen-turbo\"}", completion),
        ("modelhub_error_answers_total{code=\"model_not_found\",status=\"404\"}", 1),
        ("modelhub_error_answers_total{code=\"not_found\",status=\"404\"}", 1),
        ("modelhub_error_answers_total{code=\"invalid_api_key\",status=\"401\"}", 1),
        ("modelhub_upstream_attempts_total{result=\"answered\",upstream=\"demo\"}", 3),
        ("modelhub_upstream_attempts_total{result=\"timeout\",upstream=\"demo\"}", 0),
        ("modelhub_request_seconds_count{stream=\"false\"}", 2),
        ("modelhub_request_seconds_count{stream=\"true\"}", 1),
        ("modelhub_first_token_seconds_count", 1),
        ("modelhub_added_seconds_count", 3),
        ("modelhub_usage_not_durable_total", 0),
        ("modelhub_requests_in_flight", 0),
        ("modelhub_probe_failures_total{probe=\"gateway\"}", 0),
    ];
    let mut expected: Vec<_> = of.iter().map(|(name, value)| (*name, value.to_string())).collect();
    let micro = micro.trunc().normalize().to_string();
    expected.push(("modelhub_credit_microusd_total{model=\"qwen-turbo\"}", micro.clone()));
    expected.push(("modelhub_list_price_microusd_total{model=\"qwen-turbo\"}", micro));
    expected
}

/// A lease is open while an account is used, and given back when nothing needs it any more.
async fn leases_come_and_go(system: &System, client: &Client, gateway: &str, ledger: &str) {
    const RESERVED: [&str; 3] =
        ["modelhub_ledger_leases", "modelhub_ledger_reserved_microusd", "modelhub_ledger_reserved_plan_tokens"];
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.complete(&json!({"model": "qwen-turbo", "messages": [{"role": "user", "content": "Hi"}]})).await;
        let (here, there) = (samples(system, gateway).await, samples(system, ledger).await);
        if here["modelhub_leases_open"] == "1" && there[RESERVED[0]] == "1" && there[RESERVED[1]] != "0" {
            assert_ne!(here["modelhub_lease_messages_total{result=\"granted\"}"], "0");
            assert_eq!(there[RESERVED[2]], "0", "the account has no plan tokens");
            break;
        }
        assert!(Instant::now() < deadline, "{here:#?} {there:#?}");
    }
    let none = |name| (name, "0".to_owned());
    become_true(system, gateway, &[none("modelhub_leases_open")]).await;
    become_true(system, ledger, &RESERVED.map(none)).await;
}

/// No label is anybody's: their values are those of the catalogue and of this build.
fn name_nobody(samples: &Samples, account: &str) {
    for name in samples.keys() {
        assert!(!name.contains(account) && !name.contains("mh-sk-"), "{name}");
    }
    assert!(samples.len() < 600, "{} series of an installation with one customer", samples.len());
}

fn build(role: &str) -> (String, String) {
    (format!("modelhub_build_info{{role=\"{role}\",version=\"{}\"}}", env!("CARGO_PKG_VERSION")), "1".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_tells_all_of_it() {
    let system = System::embedded().await;
    let (account, client) = system.open_account("owner@example.com").await;
    let mut expected = some_requests(&system, &client).await;
    expected.extend(
        [
            ("modelhub_ledger_posted_total{type=\"usage.recorded\"}", 3),
            ("modelhub_ledger_repeats_total", 0),
            ("modelhub_lag_records{consumer=\"ledger\",partition=\"0\"}", 0),
            ("modelhub_lag_records{consumer=\"projector\",partition=\"0\"}", 0),
        ]
        .map(|(name, value)| (name, value.to_string())),
    );
    let (name, one) = build("serve");
    expected.push((&name, one));
    let samples = become_true(&system, "serve", &expected).await;
    name_nobody(&samples, &account);
    for consumer in ["ledger", "projector"] {
        let count =
            |name: &str| samples[&format!("{name}{{consumer=\"{consumer}\"}}")].parse::<u64>().expect("a number");
        assert!(count("modelhub_batch_records_total") >= count("modelhub_batch_seconds_count"), "{samples:#?}");
        assert!(count("modelhub_batch_seconds_count") >= 1, "{samples:#?}");
    }
    leases_come_and_go(&system, &client, "serve", "serve").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_tells_its_own() {
    let kafka = tests::kafka::start().await;
    let system = System::distributed_on(kafka.cluster(), "", &[]).await;
    let (account, client) = system.open_account("owner@example.com").await;
    let mut expected = some_requests(&system, &client).await;
    let (name, one) = build("gateway");
    expected.push((&name, one));
    expected.push(("modelhub_spool_records", "0".to_owned()));
    expected.push(("modelhub_spool_oldest_seconds", "0".to_owned()));
    expected.push(("modelhub_spool_max_bytes", (256 << 20).to_string()));
    let gateway = become_true(&system, "gateway", &expected).await;
    name_nobody(&gateway, &account);

    let lags = |consumer: &str| -> Vec<(String, String)> {
        let lag = |partition| format!("modelhub_lag_records{{consumer=\"{consumer}\",partition=\"{partition}\"}}");
        (0..12).map(|partition| (lag(partition), "0".to_owned())).collect()
    };
    for (service, posted) in [("ledger", Some("3")), ("projector", None)] {
        let mut all = lags(service);
        all.push(build(service));
        if let Some(count) = posted {
            all.push(("modelhub_ledger_posted_total{type=\"usage.recorded\"}".to_owned(), count.to_owned()));
        }
        let expected: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let samples = become_true(&system, service, &expected).await;
        name_nobody(&samples, &account);
    }

    leases_come_and_go(&system, &client, "gateway", "ledger").await;
    become_true(&system, "gateway", &[("modelhub_spool_records", "0".to_owned())]).await;

    // The log stands still: usage waits, and what can't be known is not told.
    kafka.pause();
    client.complete(&json!({"model": "qwen-turbo", "messages": [{"role": "user", "content": "Hi"}]})).await;
    sleep(Duration::from_millis(1_100)).await;
    let waiting = samples(&system, "gateway").await;
    assert_eq!(waiting["modelhub_spool_records"], "1");
    assert_ne!(waiting["modelhub_spool_oldest_seconds"], "0");
    let ledger = samples(&system, "ledger").await;
    assert_ne!(ledger["modelhub_probe_failures_total{probe=\"lag\"}"], "0");
    assert!(!ledger.keys().any(|name| name.starts_with("modelhub_lag_records")), "{ledger:#?}");
    kafka.resume();
    become_true(&system, "gateway", &[("modelhub_spool_records", "0".to_owned())]).await;
    become_true(&system, "ledger", &[(lags("ledger")[0].0.as_str(), "0".to_owned())]).await;
}
