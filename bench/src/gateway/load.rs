//! The clients: a process of its own, with connections that stay open.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::time::sleep_until;

use super::payload;
use super::wire::Connection;

#[derive(Args)]
pub(crate) struct Options {
    /// Who is asked, `host:port`.
    address: String,
    /// The key to ask with.
    #[arg(long)]
    key: Option<String>,
    /// Connections, each with one request at a time.
    #[arg(long)]
    clients: u32,
    /// For how long requests are begun.
    #[arg(long)]
    milliseconds: u64,
    /// Requests a second at fixed times, however long they take; else each client's next one follows its last.
    #[arg(long)]
    rate: Option<u32>,
    /// Asks for streams.
    #[arg(long)]
    stream: bool,
    /// Asks an upstream that takes its time.
    #[arg(long)]
    slowly: bool,
    /// What must stand in every answer.
    #[arg(long)]
    expect: String,
}

/// What the clients saw.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Requests, each answered as expected.
    pub(super) requests: u64,
    /// From the first to the last.
    pub(super) seconds: f64,
    /// Microseconds from a request to the last byte of its answer.
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Asks, and prints what was seen as a line of JSON. An answer that is not as expected is an error.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let options = Arc::new(options);
    let request = Arc::new(payload::request(&options.address, options.key.as_deref(), options.stream, options.slowly));
    let mut connections = Vec::new();
    for _ in 0..options.clients {
        connections.push(Connection::open(&options.address).await?);
    }
    let begun = Instant::now();
    let clients = (0..).zip(connections).map(|(client, connection)| {
        let (options, request) = (Arc::clone(&options), Arc::clone(&request));
        tokio::spawn(async move { ask(client, connection, &options, &request, begun).await })
    });
    let clients: Vec<_> = clients.collect();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(!latencies.is_empty(), "no request was made");
    latencies.sort_unstable();
    let at = |share: usize| {
        let latency = latencies.get((latencies.len() * share / 100).min(latencies.len() - 1)).copied();
        latency.unwrap_or_default().as_secs_f64() * 1e6
    };
    let seen = Seen { requests: latencies.len() as u64, seconds, p50: at(50), p99: at(99) };
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&seen)?)?;
    Ok(())
}

async fn ask(
    client: u32,
    mut connection: Connection,
    options: &Options,
    request: &[u8],
    begun: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let until = begun + Duration::from_millis(options.milliseconds);
    let mut latencies = Vec::new();
    for turn in 0.. {
        let from = match options.rate {
            None => Instant::now(),
            Some(rate) => {
                let due = begun + Duration::from_secs(1) * (client + turn * options.clients) / rate;
                // One that is late already has waited since its time. A timer that wakes late is the client's own fault.
                match due <= Instant::now() {
                    true => due,
                    false => {
                        sleep_until(due.into()).await;
                        Instant::now()
                    }
                }
            }
        };
        if from >= until {
            break;
        }
        connection.write(request).await?;
        let answer = connection.message().await?.context("the connection was closed instead of an answer")?;
        latencies.push(from.elapsed());
        let body = &answer.body;
        let is_good = answer.first_line.starts_with("HTTP/1.1 200")
            && payload::contains(&body[body.len().saturating_sub(600)..], options.expect.as_bytes())
            && (!options.stream || body.ends_with(b"[DONE]\n\n"));
        ensure!(is_good, "{}\n{}", answer.first_line, String::from_utf8_lossy(body));
    }
    Ok(latencies)
}
