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
use tokio_util::sync::CancellationToken;

/// How long a client may take to send a request's head, and keep an idle connection.
const HEADER_WITHIN: Duration = Duration::from_secs(30);
/// Connections at once. Beyond it new ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 10_000;
/// How long running requests may take to end once the process was told to stop.
const DRAIN_WITHIN: Duration = Duration::from_mins(1);

/// Serves `routes` until `stop`, then takes no new connection and finishes the requests that run.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_WITHIN);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, slot)) = accepted else { continue };
        let service = TowerToHyperService::new(routes.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is nothing to report.
            let _ = connection.await;
            drop(slot);
        });
    }
    drop(listener);
    if timeout(DRAIN_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::warn!(waited = ?DRAIN_WITHIN, "some connections did not end in time and are cut");
    }
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
