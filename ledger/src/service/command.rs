//! Commands on one account: each becomes an event whose terms are resolved, and returns when that is applied.
//!
//! A command that may be repeated has an event id that is derived from what identifies it: an idempotency key, a key's id, a
//! processor's own id. Whether that id is posted is looked at before anything else, so a repeat is answered as the first
//! was, whatever has changed since, and one that says something else is refused.

mod access;
mod credit;
mod keys;
mod payment;
mod repeat;
mod subscription;
mod usage;

use accounting::AccountState;
use schemas::api::{Command, Done, Refusal};
use schemas::{AccountId, EventData, EventId, Usd};
use uuid::Uuid;

use super::commands::{MAX_IDEMPOTENCY_KEY_CHARACTERS, MAX_REASON_CHARACTERS};
use super::contact::label;
use super::{Ledger, LedgerError};
use crate::outside::fresh_id;

/// Credit given is drawn before credit paid for.
const GIVEN_PRIORITY: u8 = super::commands::GRANT_PRIORITY;
const PAID_PRIORITY: u8 = 200;

impl Ledger {
    /// Carries out a command on an account; returns when the ledger has applied it.
    ///
    /// # Errors
    /// A refusal that names what is wrong, and nothing is appended; or the ledger can't do it now.
    pub async fn execute(&self, account: AccountId, command: Command) -> Result<Done, LedgerError> {
        match command {
            Command::Suspend { reason } => self.suspend(account, &reason).await,
            Command::Reinstate { reason } => self.reinstate(account, &reason).await,
            Command::CloseAccount { reason } => self.close_account(account, &reason).await,
            Command::UpdateKey { key_id, name, limits } => {
                self.update_key(account, key_id, name.as_deref(), limits).await
            }
            Command::RevokeKey { key_id, reason } => self.revoke_key(account, key_id, &reason).await,
            Command::AdjustCredit { adjustment, reason, idempotency_key } => {
                self.adjust_credit(account, adjustment, &reason, idempotency_key.as_deref()).await
            }
            Command::CorrectUsage { usage_event_id, tokens, reason, idempotency_key } => {
                self.correct_usage(account, usage_event_id, tokens, &reason, idempotency_key.as_deref()).await
            }
            Command::RecordPayment { payment, amount_usd, fee_usd } => {
                self.record_payment(account, &payment, amount_usd, fee_usd).await
            }
            Command::Refund { payment, refund_id, amount_usd, fee_usd, reason } => {
                let refund = payment::Refund { refund_id, amount_usd, fee_usd, reason };
                self.refund(account, &payment, refund).await
            }
            Command::OpenDispute { payment, dispute_id, amount_usd, fee_usd, suspend, reason } => {
                let dispute = payment::NewDispute { dispute_id, amount_usd, fee_usd, suspend, reason };
                self.open_dispute(account, &payment, dispute).await
            }
            Command::CloseDispute { dispute, outcome, reinstate } => {
                self.close_dispute(account, &dispute, outcome, reinstate).await
            }
            Command::Subscribe { plan, payment, utc_offset_minutes, idempotency_key } => {
                let key = idempotency_key.as_deref();
                self.subscribe(account, &plan, payment.as_ref(), utc_offset_minutes, key).await
            }
            Command::ChangePlan { plan, when, payment, idempotency_key } => {
                self.change_plan(account, &plan, when, payment.as_ref(), idempotency_key.as_deref()).await
            }
            Command::CancelSubscription { when, give_back_unused, reason } => {
                self.cancel_subscription(account, when, give_back_unused, &reason).await
            }
        }
    }

    /// Posts a command's event.
    async fn done(&self, id: EventId, account: AccountId, data: EventData, field: &str) -> Result<Done, LedgerError> {
        let posted = self.post(id, account, data, field).await?;
        Ok(Done { event_id: Some(id), amount_usd: posted.amount, balance_usd: posted.balance })
    }

    /// Posts a command's event that may charge a plan's price.
    async fn charged(
        &self,
        id: EventId,
        account: AccountId,
        data: EventData,
        field: &str,
    ) -> Result<Done, LedgerError> {
        let posted = self.post_charge(id, account, data, field).await?;
        Ok(Done { event_id: Some(id), amount_usd: posted.amount, balance_usd: posted.balance })
    }

    fn fresh(&self) -> Uuid {
        fresh_id(&*self.parts.outside)
    }

    /// An id that a repeat with the same key derives again; a fresh one without a key.
    fn keyed(&self, account: AccountId, command: &str, key: Option<&str>) -> Result<Uuid, Refusal> {
        let Some(key) = key else { return Ok(self.fresh()) };
        let key = label("idempotency_key", key, MAX_IDEMPOTENCY_KEY_CHARACTERS)?;
        Ok(account.derive(&format!("{command}:{key}")))
    }
}

/// What is wanted is so already.
fn nothing_to_do(state: &AccountState) -> Result<Done, LedgerError> {
    let beyond = || LedgerError::Unavailable("a balance is beyond exact money; run `modelhub audit`".into());
    Ok(Done { event_id: None, amount_usd: Usd::ZERO, balance_usd: state.balance().ok_or_else(beyond)? })
}

fn reason(text: &str) -> Result<String, Refusal> {
    label("reason", text, MAX_REASON_CHARACTERS)
}

fn invalid(field: &str, detail: impl Into<String>) -> Refusal {
    Refusal::Invalid { field: field.into(), detail: detail.into() }
}

pub(super) fn not_closed(state: &AccountState) -> Result<(), Refusal> {
    if state.closed { Err(invalid("account", "is closed for good; open another one")) } else { Ok(()) }
}

/// Refuses what is not above zero, or more than an event may carry.
fn positive(field: &str, amount: Usd) -> Result<(), Refusal> {
    if amount.is_positive() && amount.in_range() {
        return Ok(());
    }
    let most = schemas::money::MAX_USD;
    Err(invalid(field, format!("{amount} USD; it has to be above zero and at most {most} USD")))
}
