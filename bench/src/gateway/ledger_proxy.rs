//! Between gateway and ledger: passes bytes on, and counts what the gateway asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Questions so far.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<AtomicU64>);

impl Asked {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Passes on from `listen` to `ledger` for as long as this process runs.
pub(super) async fn start(listen: &str, ledger: String) -> anyhow::Result<Asked> {
    let (listener, asked) = (TcpListener::bind(listen).await?, Asked::default());
    let counted = asked.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (ledger, asked) = (ledger.clone(), counted.clone());
            tokio::spawn(async move {
                // A side that closes its connection is nothing to report.
                let _ = pass(client, &ledger, &asked).await;
            });
        }
    });
    Ok(asked)
}

/// A connection carries one question at a time, so what comes after an answer, and the first of all, is another question.
async fn pass(client: TcpStream, ledger: &str, asked: &Asked) -> std::io::Result<()> {
    let server = TcpStream::connect(ledger).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let is_answered = AtomicBool::new(true);
    let questions = copy(from_client, to_server, || {
        if is_answered.swap(false, Ordering::Relaxed) {
            asked.0.fetch_add(1, Ordering::Relaxed);
        }
    });
    let answers = copy(from_server, to_client, || is_answered.store(true, Ordering::Relaxed));
    tokio::try_join!(questions, answers).map(drop)
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut each: impl FnMut(),
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut bytes).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        each();
        to.write_all(bytes.get(..length).unwrap_or_default()).await?;
    }
}
