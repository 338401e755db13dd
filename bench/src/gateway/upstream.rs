//! The upstream of all proxies: a process of its own that answers at once, whole or in pieces.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::payload;
use super::wire::Connection;

/// Between two chunks of a stream: so long that a proxy gets, and passes on, each by itself.
const BETWEEN_CHUNKS: Duration = Duration::from_millis(5);

#[derive(Args)]
pub(crate) struct Options {
    /// Where it listens.
    address: String,
}

struct Answers {
    whole: Vec<u8>,
    head: Vec<u8>,
    chunk: Vec<u8>,
    end: Vec<u8>,
}

/// Answers until it is killed.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&options.address).await?;
    let answers = Arc::new(Answers {
        whole: payload::whole(),
        head: payload::stream_head(),
        chunk: payload::chunk(),
        end: payload::stream_end(),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let (connection, answers) = (Connection::new(stream)?, Arc::clone(&answers));
        tokio::spawn(async move {
            // A proxy that closes its connection is nothing to report.
            let _ = serve(connection, &answers).await;
        });
    }
}

async fn serve(mut connection: Connection, answers: &Answers) -> anyhow::Result<()> {
    while let Some(request) = connection.message().await? {
        if request.first_line.starts_with("GET") {
            connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
        } else if payload::is_stream(&request.body) {
            connection.write(&answers.head).await?;
            let mut pace = interval(BETWEEN_CHUNKS);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for _ in 0..payload::CHUNKS {
                pace.tick().await;
                connection.write(&answers.chunk).await?;
            }
            connection.write(&answers.end).await?;
        } else {
            if payload::is_slow(&request.body) {
                sleep(payload::SLOW).await;
            }
            connection.write(&answers.whole).await?;
        }
    }
    Ok(())
}
