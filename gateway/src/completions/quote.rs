//! `POST /v1/quote`: what a completion would cost at most, and whether it would be admitted. It is decided by what decides of the
//! completion itself, and then given back.

use std::sync::Arc;

use accounting::rating;
use axum::extract::{Request, State};
use axum::{Extension, Json};
use schemas::catalogue::Model;
use schemas::event::Funding;
use schemas::{TokenCounts, Usd};
use serde::Serialize;
use tokio::time::Instant;

use super::MAX_BODY_BYTES;
use super::decide::{Decision, decide, may_use, model, prompt_bound, too_many};
use super::request::CompletionRequest;
use crate::accounts::Caller;
use crate::app::App;
use crate::body;
use crate::error::ApiError;

/// What a request would cost.
#[derive(Serialize)]
pub(crate) struct Quote {
    object: &'static str,
    model: String,
    /// Whether it would be sent to the model now.
    admitted: bool,
    /// All that it asks for: an upper bound of its prompt, and the longest answer.
    worst_case: Tokens,
    /// What would be set aside for it: less than the worst case where the account, or the key, does not have that.
    hold: Option<Held>,
    /// What would pay for the hold.
    funding: Option<Funding>,
    /// What the completion would be refused with.
    error: Option<Refusal>,
}

#[derive(Serialize)]
struct Refusal {
    /// The completion's HTTP status.
    status: u16,
    #[serde(flatten)]
    error: ApiError,
    /// The completion's `Retry-After`.
    retry_after_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
    /// At list price.
    cost_usd: Option<Usd>,
}

#[derive(Serialize)]
struct Held {
    #[serde(flatten)]
    tokens: Tokens,
    /// The longest answer, of each choice.
    max_tokens: u64,
    /// Whether that is less than the request, or the model, would take; the model is told so.
    clamped: bool,
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Json<Quote>, ApiError> {
    let _quoting = caller.account.admit_quote(Instant::now()).map_err(too_many)?;
    let request = CompletionRequest::parse(body::read(request.into_body(), MAX_BODY_BYTES).await?)?;
    let model = model(&app, &request)?;
    let prompt = prompt_bound(&caller, &request, model).await;
    let asked = request.asked(model, prompt).ok_or_else(ApiError::internal)?;
    let worst_case = Tokens::at_list_price(asked, model);
    let quote = |decided: Result<Decision, ApiError>| {
        let (decided, error) = match decided {
            Ok(decided) => (Some(decided), None),
            Err(error) => (None, Some(Refusal::new(error))),
        };
        Quote {
            object: "quote",
            model: model.id.clone(),
            admitted: decided.is_some(),
            worst_case,
            funding: decided.as_ref().map(Decision::funding),
            hold: decided.map(|decided| Held {
                tokens: Tokens::at_list_price(decided.worst.tokens, model),
                max_tokens: decided.worst.output_tokens,
                clamped: decided.worst.clamped,
            }),
            error,
        }
    };
    let decided = async {
        may_use(caller.account.status())?;
        caller.account.would_admit(Instant::now()).map_err(too_many)?;
        decide(&app, &caller, request, model, prompt).await
    };
    match decided.await {
        // Nobody knows whether it would be admitted.
        Err(error) if error.status.is_server_error() => Err(error),
        decided => Ok(Json(quote(decided))),
    }
}

impl Refusal {
    fn new(error: ApiError) -> Self {
        Self { status: error.status.as_u16(), retry_after_seconds: error.retry_after_seconds, error }
    }
}

impl Decision {
    fn funding(&self) -> Funding {
        let funds = self.hold.funds();
        Funding { plan_tokens: funds.plan_tokens, credit_usd: funds.usd }
    }
}

impl Tokens {
    fn at_list_price(tokens: TokenCounts, model: &Model) -> Self {
        let cost_usd = rating::cost(&tokens, &model.price);
        Self { prompt_tokens: tokens.prompt, completion_tokens: tokens.completion, cost_usd }
    }
}
