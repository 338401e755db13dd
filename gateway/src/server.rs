//! The accept loop. Our own, because `axum::serve` sets no timer and so leaves hyper's header timeout without effect:
//! slow clients could hold every socket.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to send a request's head, and keep an idle connection.
const HEADER_WITHIN: Duration = Duration::from_secs(30);
/// Connections at once. Beyond it new ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 10_000;
/// How patient a server is.
#[derive(Clone, Copy)]
struct Patience {
    /// How long a client may take nothing of its answer. One that stays but does not read would hold its request's money
    /// and its upstream for ever.
    stalled: Duration,
    /// How long running requests may take to end once the process was told to stop.
    drain: Duration,
}

const PATIENCE: Patience = Patience { stalled: Duration::from_mins(1), drain: Duration::from_mins(1) };

/// Serves `routes` until `stop`, then takes no new connection and finishes the requests that run. Those that do not end
/// within a minute are cut, as if their clients had gone. On return there is no connection any more.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    serve_with(PATIENCE, listener, routes, stop).await;
}

async fn serve_with(patience: Patience, listener: TcpListener, routes: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_WITHIN);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, slot)) = accepted else { continue };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience.stalled));
        let service = TowerToHyperService::new(routes.clone());
        let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = graceful.watch(connection);
        let cut = cut.clone();
        connections.spawn(async move {
            // A client that breaks off is nothing to report.
            let _ = cut.run_until_cancelled(connection).await;
            drop(slot);
        });
    }
    drop(listener);
    if timeout(patience.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(waited = ?patience.drain, "some connections did not end in time and are cut");
        cut.cancel();
    }
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Latency over packet count: answers are small.
            let _ = stream.set_nodelay(true);
            Some((stream, slot))
        }
        Err(error) => {
            // Out of file descriptors, most likely: connections that end will free some.
            tracing::warn!(%error, "a connection could not be accepted");
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    const NEVER: Duration = Duration::from_mins(10);
    const SOON: Duration = Duration::from_millis(300);

    /// A server of one endless answer, which tells when its client is gone, and a client that does not read it.
    async fn stalled(
        patience: Patience,
    ) -> (mpsc::Receiver<()>, CancellationToken, tokio::task::JoinHandle<()>, TcpStream) {
        let (gone, told) = mpsc::channel(1);
        let endless = move || {
            let gone = gone.clone();
            async move {
                let (sender, body) = crate::body::channel();
                tokio::spawn(async move {
                    let piece = Bytes::from(vec![b'x'; 64 << 10]);
                    while sender.send(piece.clone()).await.is_ok() {}
                    let _ = gone.send(()).await;
                });
                body
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let routes = Router::new().route("/", get(endless));
        let server = tokio::spawn(serve_with(patience, listener, routes, stop.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        client.read_exact(&mut [0; 12]).await.unwrap();
        (told, stop, server, client)
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_is_cut() {
        let (mut gone, _stop, _server, _client) = stalled(Patience { stalled: SOON, drain: NEVER }).await;
        timeout(Duration::from_secs(30), gone.recv()).await.expect("the answer is still being written").unwrap();
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_after_a_stop_is_cut() {
        let (mut gone, stop, server, _client) = stalled(Patience { stalled: NEVER, drain: SOON }).await;
        stop.cancel();
        timeout(Duration::from_secs(30), server).await.expect("the server still runs").unwrap();
        timeout(Duration::from_secs(30), gone.recv()).await.expect("the answer is still being written").unwrap();
    }
}
