//! `Idempotency-Key`: a request that is sent again gets the first one's answer, and is charged once.
//!
//! Before it runs, a request claims its answer at the ledger; it runs, and the answer is kept there before its last byte goes
//! out. Whoever repeats it meanwhile, at whatever gateway, waits. A client that goes away changes nothing: the request runs
//! to its end, and its repeat finds the answer. What was not charged is not kept, and a repeat is a new request.
//!
//! A gateway that dies, or is not heard of, loses its claims after a while. Whoever takes one over runs the request again
//! *under the same request id*, so both have one usage event between them, and an event id posts at most once: charged once,
//! whatever the first one got to (ADR 25).

mod claim;
mod kept;
mod seal;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use accounting::api_key::ApiKey;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body_util::BodyExt as _;
use schemas::RequestId;
use schemas::api::{AnswerEnd, ClaimAnswer, Claimed};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::claim::Claim;
use self::kept::Kept;
use self::seal::Vault;
use crate::accounts::Caller;
use crate::app::{App, REQUEST_ID};
use crate::body::{BodySender, channel};
use crate::completions::{self, Asked};
use crate::error::ApiError;
use crate::meter::{Recorded, Told};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// On every answer that is the first one's.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The longest `Idempotency-Key`, in characters.
const MAX_KEY: usize = 255;
/// How long an answer's last byte waits for the answer to be kept. It goes out then, and the answer is kept later or not at
/// all: it is charged once whatever becomes of that.
const KEEP_WITHIN: Duration = Duration::from_secs(2);
/// The end of a stream that ended as it should.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// The request's `Idempotency-Key`, where it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = |what: &str| {
        let form =
            "Send one text of 1 to 255 visible ASCII characters, such as a UUID, and a new one for each new request.";
        ApiError::invalid_request(None, format!("The Idempotency-Key {what}. {form}"))
    };
    if values.next().is_some() {
        return Err(wrong("is there twice"));
    }
    let key = value.to_str().map_err(|_| wrong("has characters that are not visible ASCII"))?;
    match key.len() {
        0 => Err(wrong("is empty")),
        1..=MAX_KEY => Ok(Some(key)),
        length => Err(wrong(&format!("has {length} characters"))),
    }
}

/// Answers a request once: makes the answer, or gives the one that was made before.
pub(crate) async fn once(
    app: Arc<App>,
    caller: Caller,
    request_id: RequestId,
    asked: Asked,
    (api_key, key): (&ApiKey, &str),
) -> Response {
    let vault = Vault::new(api_key);
    let (Some(answer_id), Some(fingerprint)) = (vault.answer_id(key), vault.fingerprint(asked.body())) else {
        return ApiError::internal().into_response();
    };
    let claim = ClaimAnswer {
        answer_id,
        account_id: caller.account.id(),
        fingerprint,
        holder: request_id,
        hold_ms: app.idempotency.hold_ms,
    };
    let (reply, answer) = oneshot::channel();
    // A task of its own, so that the answer is made and kept when the client goes away.
    app.tasks.clone().spawn(Once { app, caller, asked, vault, claim, reply }.run());
    answer.await.unwrap_or_else(|_| ApiError::internal().into_response())
}

/// A request on its way to the one answer.
struct Once {
    app: Arc<App>,
    caller: Caller,
    asked: Asked,
    vault: Vault,
    claim: ClaimAnswer,
    reply: oneshot::Sender<Response>,
}

impl Once {
    async fn run(mut self) {
        let wait = Duration::from_millis(self.app.idempotency.wait_ms);
        let ledger = Arc::clone(&self.app.ledger);
        let mut claiming = std::pin::pin!(claim::claim(&*ledger, self.claim, wait));
        let claimed = tokio::select! {
            () = self.reply.closed() => {
                // The claim may have been made already, and nobody would ever end it.
                if let Ok(Claimed::Yours { .. }) = claiming.await {
                    Claim::new(Arc::clone(&ledger), &self.claim).end(AnswerEnd::Free).await;
                }
                return;
            }
            claimed = &mut claiming => claimed,
        };
        let response = match claimed {
            Ok(Claimed::Yours { request_id }) => return self.make(request_id).await,
            Ok(Claimed::Kept { request_id, holder, sealed }) => {
                let text = self.vault.open(self.claim.answer_id, holder, sealed);
                match text.and_then(Kept::read) {
                    Some(kept) => named(kept.replay(), request_id, true),
                    None => {
                        tracing::error!(%request_id, "an answer that is kept can't be opened");
                        ApiError::internal().into_response()
                    }
                }
            }
            Ok(Claimed::NotKept { request_id }) => {
                named(ApiError::answer_not_kept().into_response(), request_id, false)
            }
            Ok(Claimed::OtherBody) => ApiError::idempotency_key_reused().into_response(),
            Ok(Claimed::Running) => ApiError::idempotency_in_progress().into_response(),
            Err(error) => {
                tracing::warn!(%error, "an answer could not be claimed");
                let message = "It can't be found out just now whether this Idempotency-Key was used before. Nothing was \
                               sent to the model and nothing is charged. Try again.";
                ApiError::unavailable(message).into_response()
            }
        };
        // Nobody may be there any more to hear it.
        let _ = self.reply.send(response);
    }

    /// Runs the request, and keeps its answer.
    async fn make(self, request_id: RequestId) {
        let Self { app, caller, asked, vault, claim, reply } = self;
        let held = Claim::new(Arc::clone(&app.ledger), &claim);
        let told = Told::new(OnceLock::new());
        let most = app.idempotency.max_answer_bytes;
        let run = async {
            let response = completions::answer(&app, &caller, request_id, asked, Some(Arc::clone(&told))).await;
            let (parts, body) = named(response, request_id, false).into_parts();
            let kept = Kept::new(parts.status, &parts.headers, most);
            if !kept.is_stream() {
                // A body of our own making, in memory already: it does not fail.
                let text = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                return (kept.with(&text), Last::Whole(reply, Response::from_parts(parts, Body::from(text))));
            }
            let (sender, streamed) = channel();
            let _ = reply.send(Response::from_parts(parts, streamed));
            let (kept, last) = forward(body, kept, &sender).await;
            (kept, Last::Piece(sender, last))
        };
        let (kept, last) = held.during(run).await;
        let end = match told.get() {
            None | Some(Recorded::Free) => AnswerEnd::Free,
            Some(Recorded::Unknown) => AnswerEnd::Unknown,
            Some(Recorded::Charged) => kept
                .text()
                .and_then(|text| vault.seal(claim.answer_id, claim.holder, text))
                .map_or(AnswerEnd::TooLarge, AnswerEnd::Keep),
        };
        let mut ending = std::pin::pin!(held.during(held.end(end)));
        let ended = timeout(KEEP_WITHIN, &mut ending).await;
        last.send().await;
        if ended.is_err() {
            ending.await;
        }
    }
}

/// What the client has not been sent yet when an answer is kept.
enum Last {
    Whole(oneshot::Sender<Response>, Response),
    Piece(BodySender, Option<Bytes>),
}

impl Last {
    /// A client that has gone away misses it.
    async fn send(self) {
        match self {
            Self::Whole(reply, response) => drop(reply.send(response)),
            Self::Piece(sender, Some(last)) => drop(sender.send(last).await),
            Self::Piece(_, None) => {}
        }
    }
}

/// Sends a stream on while the client is there, and keeps what was sent. Gives the last piece, which is still to be sent.
async fn forward(mut body: Body, mut kept: Kept, sender: &BodySender) -> (Kept, Option<Bytes>) {
    let mut last = None;
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(piece) = frame.into_data() else { continue };
        kept.push(&piece);
        let held_back = if piece.ends_with(DONE) { last.replace(piece) } else { Some(piece) };
        if let Some(piece) = held_back {
            let _ = sender.send(piece).await;
        }
    }
    (kept, last)
}

/// Whose answer it is: the request that is charged for it, which a statement names too.
fn named(mut response: Response, request_id: RequestId, replayed: bool) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = http::HeaderValue::from_str(&request_id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if replayed {
        headers.insert(REPLAYED, http::HeaderValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_text_of_visible_ascii() {
        let check = |values: &[&[u8]], expected: Result<Option<&str>, &str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, http::HeaderValue::from_bytes(value).unwrap());
            }
            match (key(&headers), expected) {
                (Ok(key), Ok(expected)) => assert_eq!(key, expected),
                (Err(error), Err(expected)) => {
                    assert_eq!(error.status.as_u16(), 400);
                    assert!(error.message.contains(expected), "{}", error.message);
                }
                (got, _) => panic!("{values:?}: {got:?}"),
            }
        };
        check(&[], Ok(None));
        check(&[b"order 17"], Ok(Some("order 17")));
        check(&[&[b'k'; 255]], Ok(Some(&"k".repeat(255))));
        check(&[&[b'k'; 256]], Err("has 256 characters"));
        check(&[b""], Err("is empty"));
        check(&["ü".as_bytes()], Err("not visible ASCII"));
        check(&[b"a", b"a"], Err("is there twice"));
    }
}
