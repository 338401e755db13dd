//! Putting the charge of a request right.

use schemas::api::{CorrectedTokens, Done, Refusal};
use schemas::event::UsageCorrectedV1;
use schemas::usage::{MAX_TOKENS, TokenCounts};
use schemas::{AccountId, EventData, EventId, LotId};

use super::{GIVEN_PRIORITY, invalid, nothing_to_do, reason};
use crate::service::{Ledger, LedgerError};

impl Ledger {
    pub(super) async fn correct_usage(
        &self,
        account: AccountId,
        usage_event_id: EventId,
        corrected: CorrectedTokens,
        why: &str,
        key: Option<&str>,
    ) -> Result<Done, LedgerError> {
        let reason = reason(why)?;
        let id = EventId(self.keyed(account, "correct", key)?);
        let _turn = self.turn(account).await;
        let is_same = |before: &EventData| match before {
            EventData::UsageCorrected(data) => {
                let same_tokens = over(data.before.tokens, corrected) == data.tokens;
                data.usage_event_id == usage_event_id && same_tokens && data.reason == reason
            }
            _ => false,
        };
        if let Some(done) = self.repeat(id, account, "idempotency_key", is_same).await? {
            return Ok(done);
        }
        let state = self.stored(account).await?.state;
        let recorded = self.parts.store.posted(usage_event_id).await?;
        let recorded = recorded.filter(|recorded| recorded.account == account);
        let unknown = || {
            let detail = format!(
                "the account has no usage of event {usage_event_id}; `modelhub admin statement --json` names its events"
            );
            Refusal::Invalid { field: "event".into(), detail }
        };
        let recorded = recorded.ok_or_else(unknown)?;
        let charged = recorded.usage_charge().ok_or_else(unknown)?;
        let event = self.event_at(recorded.position).await?;
        let usage = event.data.usage().ok_or_else(unknown)?;
        let before = state.corrections.get(&usage_event_id).map_or(charged, |now| now.charge);
        let tokens = over(before.tokens, corrected);
        if !tokens.is_consistent() {
            let TokenCounts { prompt, cached_prompt, completion, reasoning } = tokens;
            let detail = format!(
                "{cached_prompt} of {prompt} prompt tokens cached, {reasoning} of {completion} completion tokens for \
                 reasoning; a part is never more than its whole, and no count is above {MAX_TOKENS}"
            );
            return Err(invalid("tokens", detail).into());
        }
        if tokens == before.tokens {
            return nothing_to_do(&state);
        }
        let data = UsageCorrectedV1 {
            usage_event_id,
            request_id: usage.request_id,
            key_id: usage.key_id,
            model: usage.model.to_owned(),
            price: usage.price,
            before,
            tokens,
            lot_id: LotId(id.derive("lot")),
            priority: GIVEN_PRIORITY,
            reason,
        };
        self.done(id, account, EventData::UsageCorrected(Box::new(data)), "event").await
    }
}

fn over(before: TokenCounts, corrected: CorrectedTokens) -> TokenCounts {
    TokenCounts {
        prompt: corrected.prompt.unwrap_or(before.prompt),
        cached_prompt: corrected.cached_prompt.unwrap_or(before.cached_prompt),
        completion: corrected.completion.unwrap_or(before.completion),
        reasoning: corrected.reasoning.unwrap_or(before.reasoning),
    }
}
