//! Bodies: reading a request's within bounds, and writing an answer's from a task.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::ApiError;

/// How long a client may take to send a request's body.
const READ_WITHIN: Duration = Duration::from_mins(1);
/// Pieces on their way to a slow client before the upstream has to wait.
const PIECES: usize = 64;

/// Reads a whole body.
pub(crate) async fn read(body: Body, limit_bytes: usize) -> Result<Bytes, ApiError> {
    match timeout(READ_WITHIN, Limited::new(body, limit_bytes).collect()).await {
        Err(_) => Err(ApiError::body_timeout()),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit_bytes)),
        Ok(Err(error)) => Err(ApiError::invalid_request(None, format!("The body broke off: {error}."))),
    }
}

/// The writing end of an answer's body.
pub(crate) type BodySender = mpsc::Sender<Bytes>;

/// A body that a task writes. It ends when the sender is dropped; the sender sees when the client goes away.
pub(crate) fn channel() -> (BodySender, Body) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (sender, Body::new(ChannelBody(receiver)))
}

struct ChannelBody(mpsc::Receiver<Bytes>);

impl hyper::body::Body for ChannelBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
