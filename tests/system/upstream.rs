//! An upstream that does what a test says, and remembers what it was sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// What the upstream does with one request.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) pieces: Vec<Piece>,
}

/// A step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Wait(Duration),
    /// The connection breaks.
    Break,
    /// Nothing more comes, and the connection stays.
    Hang,
}

/// The scripted upstream.
#[derive(Clone, Default)]
pub(crate) struct Upstream {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Answers that are still being written.
    running: Arc<()>,
    scripts: VecDeque<Script>,
    requests: Vec<(HeaderMap, Bytes)>,
}

impl Script {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self { status, content_type: "application/json", pieces: vec![Piece::Bytes(body.into())] }
    }

    /// A stream of these pieces.
    pub(crate) fn stream(pieces: Vec<Piece>) -> Self {
        Self { status: 200, content_type: "text/event-stream", pieces }
    }
}

impl Upstream {
    /// Starts it; gives it and its base URL.
    pub(crate) async fn start() -> (Self, String) {
        let upstream = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base_url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let routes = Router::new().route("/v1/chat/completions", post(answer)).with_state(upstream.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (upstream, base_url)
    }

    /// What the next request gets.
    pub(crate) fn next(&self, script: Script) {
        self.shared.lock().expect("a lock").scripts.push_back(script);
    }

    /// The last request: its headers and body.
    pub(crate) fn last_request(&self) -> (HeaderMap, String) {
        let shared = self.shared.lock().expect("a lock");
        let (headers, body) = shared.requests.last().expect("a request").clone();
        (headers, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    /// The body of each request.
    pub(crate) fn bodies(&self) -> Vec<String> {
        let shared = self.shared.lock().expect("a lock");
        shared.requests.iter().map(|(_, body)| String::from_utf8(body.to_vec()).expect("UTF-8")).collect()
    }

    /// Waits until no answer is being written any more.
    pub(crate) async fn is_left_alone(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Arc::strong_count(&self.shared.lock().expect("a lock").running) > 1 {
            assert!(Instant::now() < deadline, "an answer is still being written, for nobody");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.lock().expect("a lock").requests.len()
    }
}

async fn answer(State(upstream): State<Upstream>, headers: HeaderMap, body: Bytes) -> Response {
    let (script, running) = {
        let mut shared = upstream.shared.lock().expect("a lock");
        shared.requests.push((headers, body));
        (shared.scripts.pop_front().expect("a script for every request"), Arc::clone(&shared.running))
    };
    let pieces = stream::iter(script.pieces).filter_map(move |piece| {
        let running = Arc::clone(&running);
        async move {
            let answered = step(piece).await;
            drop(running);
            answered
        }
    });
    Response::builder()
        .status(script.status)
        .header("content-type", script.content_type)
        .body(Body::from_stream(pieces))
        .expect("a response")
}

async fn step(piece: Piece) -> Option<Result<Vec<u8>, &'static str>> {
    match piece {
        Piece::Bytes(bytes) => Some(Ok(bytes)),
        Piece::Wait(time) => {
            sleep(time).await;
            None
        }
        Piece::Break => {
            // What was sent before must leave the process first.
            sleep(Duration::from_millis(50)).await;
            Some(Err("broken on purpose"))
        }
        Piece::Hang => std::future::pending().await,
    }
}
