//! Whether a completion is admitted: what it is held for, and what it is refused with. A quote is decided by the same.

use schemas::Usd;
use schemas::api::{AccountStatus, AccountView};
use schemas::catalogue::Model;
use tokio::task::spawn_blocking;

use super::request::{CompletionRequest, WorstCase};
use crate::accounts::{Caller, Decided, Hold, NoFunds, Unadmitted};
use crate::app::{App, not_recordable};
use crate::error::ApiError;
use crate::key_limits::KeyHold;
use crate::limits::TooMany;
use crate::usage_log::Room;

/// An account that has this many times a request's worst case has it although others run.
const PLENTY: u32 = 4;

pub(super) fn model<'a>(app: &'a App, request: &CompletionRequest) -> Result<&'a Model, ApiError> {
    app.catalogue.models.get(&request.model).ok_or_else(|| ApiError::model_not_found(&request.model))
}

/// What a request is admitted on. Dropped, all of it is given back.
pub(super) struct Decision {
    /// Allowed no more than its key's limits pay for.
    pub(super) request: CompletionRequest,
    pub(super) worst: WorstCase,
    pub(super) hold: Hold,
    pub(super) key_hold: Option<KeyHold>,
    pub(super) room: Room,
}

/// Decides whether a request whose prompt has up to `prompt` tokens is admitted, within the limits of requests.
pub(super) async fn decide(
    app: &App,
    caller: &Caller,
    mut request: CompletionRequest,
    model: &Model,
    prompt: u64,
) -> Result<Decision, ApiError> {
    let key_hold = match &caller.limits {
        None => None,
        Some(key) => {
            key.may_use(&model.id)?;
            let (hold, most) = key.hold(app.context.now(), |left| request.within(model, left)).map_err(key_used_up)?;
            request.allow(most);
            Some(hold)
        }
    };
    let (hold, worst) = hold(caller, &request, model, prompt).await?;
    // The last question before the upstream is called: whatever comes of that call can be recorded.
    let room = app.recorder.reserve().await.map_err(|refused| not_recordable(&refused))?;
    Ok(Decision { request, worst, hold, key_hold, room })
}

/// The most tokens that the prompt can have: its bytes where the account has several times the worst case that follows, else
/// counted, which takes time.
pub(super) async fn prompt_bound(caller: &Caller, request: &CompletionRequest, model: &Model) -> u64 {
    let (there_is, bytes) = (caller.account.there_is(), request.prompt_tokens_bound(model));
    if request.wanted(model, bytes, there_is.plan_tokens).times(PLENTY).is_some_and(|f| there_is.covers(f)) {
        return bytes;
    }
    let (request, model) = (request.clone(), model.clone());
    let counted = spawn_blocking(move || request.prompt_tokens_counted_bound(&model, there_is)).await;
    counted.ok().flatten().unwrap_or(bytes)
}

/// Holds the worst case.
async fn hold(
    caller: &Caller,
    request: &CompletionRequest,
    model: &Model,
    prompt: u64,
) -> Result<(Hold, WorstCase), ApiError> {
    let decide = |available| {
        let worst = request.worst_case(model, prompt, available)?;
        Some(Decided { funds: worst.hold, full: worst.full, what: worst })
    };
    let want = |account: &AccountView| request.wanted(model, prompt, account.plan_tokens);
    let held = caller.account.hold(decide, want).await;
    held.map_err(|no_funds| refuse(&no_funds, prompt, model))
}

/// Only an active account may spend; what it has used and what is left, any account may look at.
pub(super) fn may_use(status: AccountStatus) -> Result<(), ApiError> {
    match status {
        AccountStatus::Active => Ok(()),
        AccountStatus::Suspended => {
            Err(ApiError::account_suspended("The account is suspended. Contact support to have it reinstated."))
        }
        AccountStatus::Closed => Err(ApiError::account_suspended("The account is closed.")),
    }
}

pub(super) fn unadmitted(refused: Unadmitted) -> ApiError {
    match refused {
        Unadmitted::TooMany(refused) => too_many(refused),
        Unadmitted::Ledger(error) => {
            tracing::warn!(%error, "no share of the account's requests could be had");
            ApiError::unavailable("The account's limits can't be looked up just now. Try again.")
        }
    }
}

pub(super) fn too_many(refused: TooMany) -> ApiError {
    match refused {
        TooMany::InAMinute { limit, retry_after_seconds } => ApiError::rate_limited(
            format!(
                "The plan allows {limit} requests a minute. Try again in {retry_after_seconds} s, or upgrade the plan."
            ),
            retry_after_seconds,
        ),
        TooMany::AtOnce { limit, retry_after_seconds } => ApiError::rate_limited(
            format!(
                "The plan allows {limit} requests at once. Try again when one of them is over, or upgrade the plan."
            ),
            retry_after_seconds,
        ),
    }
}

fn refuse(no_funds: &NoFunds, prompt_tokens: u64, model: &Model) -> ApiError {
    let (available, held) = match no_funds {
        NoFunds::TooLittle { available, held } => (available, held),
        NoFunds::Ledger(error) => {
            tracing::warn!(%error, "funds could not be leased");
            return ApiError::unavailable("The balance can't be looked up just now. Try again.");
        }
    };
    let held = match held.is_none() {
        true => String::new(),
        false => format!(" (running requests hold ${} more)", held.usd),
    };
    ApiError::insufficient_balance(format!(
        "${}{held} is available, which does not pay for this prompt (up to {prompt_tokens} tokens) and one output token of {}. \
         Add credits or upgrade the plan.",
        available.usd, model.id,
    ))
}

fn key_used_up(left: Usd) -> ApiError {
    ApiError::key_limit(format!(
        "This API key may use ${left} more until its day or month (UTC) is over, which does not pay for this prompt and one \
         output token. Use another key, or have its limit raised."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_active_account_may_spend() {
        let check = |status, expected: Option<(u16, &str)>| {
            let refused = may_use(status).err().map(|error| (error.status.as_u16(), error.code));
            assert_eq!(refused, expected, "{status:?}");
        };
        check(AccountStatus::Active, None);
        check(AccountStatus::Suspended, Some((403, "account_suspended")));
        check(AccountStatus::Closed, Some((403, "account_suspended")));
    }
}
