//! The plan's limits of requests, over several gateways: together they admit what the plan allows, each of them can have all of
//! it, and one that dies takes nothing away for longer than it takes its requests to leave the window.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{Answer, Client};
use crate::system::{Gateway, System};

const PER_MINUTE: usize = 20;
const AT_ONCE: usize = 6;
/// How long a gateway that is not asked for anything has to give back what it does not use.
const IDLE: Duration = Duration::from_secs(3);

/// An upstream that takes a while for each answer, and counts how many it is asked for at once.
#[derive(Clone, Default)]
struct Slow {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Slow {
    async fn start(&self, takes: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base_url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let slow = self.clone();
        let answer = async move || {
            let running = slow.running.fetch_add(1, Ordering::SeqCst) + 1;
            slow.most.fetch_max(running, Ordering::SeqCst);
            sleep(takes).await;
            slow.running.fetch_sub(1, Ordering::SeqCst);
            Body::from(r#"{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#)
        };
        let routes = Router::new().route("/v1/chat/completions", post(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        base_url
    }
}

/// Three gateways, a client of each with the same key, and the upstream of all.
async fn three(takes: Duration, per_minute: usize, at_once: usize) -> (System, [Gateway; 2], [Client; 3], Slow) {
    let upstream = Slow::default();
    let base_url = upstream.start(takes).await;
    let configuration = format!(
        "[[upstreams]]\nname = \"slow\"\nbase_url = \"{base_url}\"\n\n[[models]]\nid = \"m\"\nupstream = \"slow\"\n\
         context_tokens = 1000\nmax_output_tokens = 100\nprice = {{ input = \"1\", cached_input = \"0.1\", output = \"2\" }}\n\n\
         [[plans]]\nid = \"free\"\nrequests_per_minute = {per_minute}\nmax_in_flight = {at_once}\n"
    );
    let system = System::distributed_on(tests::kafka::cluster().await, &configuration, &[]).await;
    let others = [system.another_gateway().await, system.another_gateway().await];
    let (_, owner) = system.open_account("owner@example.com").await;
    let clients = [&system.address, &others[0].address, &others[1].address].map(|at| Client::new(at, &owner.key));
    (system, others, clients, upstream)
}

async fn request(client: &Client) -> Answer {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    client.send(Method::POST, "/v1/chat/completions", body.to_string()).await
}

fn retry_after(answer: &Answer) -> u64 {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.body);
    answer.header("retry-after").parse().expect("seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn several_gateways_admit_a_minutes_limit_once_and_one_can_have_it_whole() {
    let (_system, _others, clients, _) = three(Duration::ZERO, PER_MINUTE, 1_000).await;
    let began = Instant::now();
    for client in &clients {
        for _ in 0..2 {
            assert_eq!(request(client).await.status, StatusCode::OK);
        }
    }
    sleep(IDLE).await;
    // What the others have not used is this one's, to the last request.
    for remaining in (0..PER_MINUTE - 6).rev() {
        let answer = request(&clients[1]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), remaining.to_string());
    }
    // Nobody is admitted any more, however they are asked.
    let mut hammering = JoinSet::new();
    for client in clients.clone() {
        hammering.spawn(async move {
            let until = Instant::now() + Duration::from_secs(5);
            while Instant::now() < until {
                retry_after(&request(&client).await);
            }
        });
    }
    hammering.join_all().await;
    assert!(began.elapsed() < Duration::from_secs(55), "too slow to say: {:?}", began.elapsed());
    // And everybody is told when the first of them is a minute old.
    let mut waits = Duration::ZERO;
    for client in &clients {
        let wait = retry_after(&request(client).await);
        let left = Duration::from_mins(1).saturating_sub(began.elapsed());
        assert!((left.as_secs()..=60).contains(&wait), "{wait} s, and {left:?} are left");
        waits = waits.max(Duration::from_secs(wait));
    }
    sleep(waits).await;
    assert_eq!(request(&clients[2]).await.status, StatusCode::OK, "after {waits:?}, as it was told");
    // When all have left, one gateway has the limit whole.
    sleep(Duration::from_mins(1)).await;
    for n in 0..PER_MINUTE {
        assert_eq!(request(&clients[0]).await.status, StatusCode::OK, "request {n}");
    }
    retry_after(&request(&clients[0]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_gateways_run_as_many_at_once_as_the_plan_allows_and_one_can_have_it_whole() {
    let takes = Duration::from_secs(8);
    let (_system, others, clients, upstream) = three(takes, 1_000, AT_ONCE).await;
    // Four clients at each gateway, which come again while they are refused.
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for n in 0..12 {
        let client = clients[n % 3].clone();
        running.spawn(async move {
            loop {
                let answer = request(&client).await;
                if answer.status == StatusCode::OK {
                    return;
                }
                assert_eq!((retry_after(&answer), begun.elapsed() < takes * 8), (1, true), "{}", answer.body);
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
    running.join_all().await;
    assert_eq!(upstream.most.load(Ordering::SeqCst), AT_ONCE, "at once, at most");
    sleep(IDLE).await;
    // One gateway dies with two that run. What ran there does so no longer, says its next run.
    let dying: Vec<_> = (0..2)
        .map(|_| {
            let client = clients[1].clone();
            let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).to_string();
            tokio::spawn(async move { client.try_send(Method::POST, "/v1/chat/completions", body).await })
        })
        .collect();
    sleep(Duration::from_secs(2)).await;
    others[0].process.kill9().await;
    for broken in dying {
        assert!(broken.await.expect("an end").is_none(), "the connection broke");
    }
    others[0].process.start_again();
    others[0].process.answers(&others[0].address, "/readyz").await;
    let all = (0..AT_ONCE).map(|_| {
        let client = clients[1].clone();
        tokio::spawn(async move { request(&client).await.status })
    });
    for status in all.collect::<Vec<_>>() {
        assert_eq!(status.await.expect("an answer"), StatusCode::OK);
    }
}

/// One request at a time, by a balancer that takes the gateways in turn: each of them has had a share by then.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_at_a_time_is_never_too_many() {
    let (_system, _others, clients, upstream) = three(Duration::ZERO, 60, 2).await;
    for n in 0..30 {
        let answer = request(&clients[n % 3]).await;
        assert_eq!(answer.status, StatusCode::OK, "request {n}: {}", answer.body);
    }
    assert_eq!(upstream.most.load(Ordering::SeqCst), 1);
}
