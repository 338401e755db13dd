//! One line a request, when it ends: what an operator, or support, looks a request up by. Neither secrets nor content.
//!
//! `RUST_LOG=info,modelhub::request=off` leaves these lines out.

use axum::response::Response;
use schemas::{AccountId, RequestId, Usd};
use tokio::time::Instant;

use crate::accounts::Caller;
use crate::error::ErrorCode;
use crate::meter::{Admitted, Ending};
use crate::timing::Timing;

/// What `RUST_LOG` names the lines of requests by.
pub const REQUEST_LINES: &str = "modelhub::request";

/// The status of an answer that nobody was there for any more, as nginx writes it.
pub(crate) const CLIENT_GONE: u16 = 499;

/// On an answer whose request was admitted: its line is written by its meter.
#[derive(Clone, Copy)]
pub(crate) struct Metered;

/// How an admitted request ended.
pub(crate) struct End<'a> {
    pub(crate) admitted: &'a Admitted,
    pub(crate) account: AccountId,
    pub(crate) status: u16,
    pub(crate) ending: Ending,
    pub(crate) list_usd: Usd,
    pub(crate) credit_usd: Usd,
    /// Whether its event is durable; where not, nothing is charged.
    pub(crate) recorded: bool,
    pub(crate) timing: Timing,
}

/// Whole milliseconds.
fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An admitted request ended.
pub(crate) fn ended(end: &End<'_>, now: Instant) {
    let End { admitted, ending, timing, .. } = end;
    tracing::info!(
        target: REQUEST_LINES,
        request_id = %admitted.request_id,
        account = %end.account,
        key = %admitted.key_id,
        model = admitted.model,
        upstream = admitted.upstream,
        stream = admitted.stream,
        status = end.status,
        outcome = ending.outcome.as_str(),
        accuracy = ending.accuracy.as_str(),
        prompt_tokens = ending.tokens.prompt,
        cached_prompt_tokens = ending.tokens.cached_prompt,
        completion_tokens = ending.tokens.completion,
        reasoning_tokens = ending.tokens.reasoning,
        cost_usd = %end.list_usd,
        credit_usd = %end.credit_usd,
        recorded = end.recorded,
        ms = ms(timing.whole(now)),
        first_token_ms = timing.to_first_token().map(ms),
        "request"
    );
}

/// A completion was answered that was not admitted: refused, or the repeat of one that was.
pub(crate) fn not_admitted(request_id: RequestId, caller: &Caller, response: &Response) {
    if response.extensions().get::<Metered>().is_some() {
        return;
    }
    tracing::info!(
        target: REQUEST_LINES,
        %request_id,
        account = %caller.account.id(),
        key = %caller.key_id,
        status = response.status().as_u16(),
        code = response.extensions().get::<ErrorCode>().map(|code| code.0),
        "request"
    );
}
