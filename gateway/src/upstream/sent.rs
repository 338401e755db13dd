//! Whether an upstream was sent a request at all: a client that leaves before owes nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

/// Whether the body of a request was begun to be written to a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// Whether it was, of the last one that is watched.
    pub(crate) fn is_sent(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// It came to nothing.
    pub(crate) fn forget(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// A body to watch. Of one that was watched before, it is forgotten.
    pub(super) fn watch(&self, body: Bytes) -> Watched {
        self.forget();
        Watched { body: Full::new(body), sent: self.clone() }
    }
}

/// A request's body that tells when it is read, which is when a connection is there to take it.
pub(super) struct Watched {
    body: Full<Bytes>,
    sent: Sent,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = <Full<Bytes> as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.sent.0.store(true, Ordering::Release);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_is_sent_when_it_is_read() {
        let sent = Sent::default();
        let watched = sent.watch(Bytes::from_static(b"prompt"));
        assert_eq!((sent.is_sent(), watched.size_hint().exact(), watched.is_end_stream()), (false, Some(6), false));
        assert_eq!(watched.collect().await.unwrap().to_bytes(), "prompt");
        assert!(sent.is_sent());
        let _another = sent.watch(Bytes::new());
        assert!(!sent.is_sent());
    }
}
