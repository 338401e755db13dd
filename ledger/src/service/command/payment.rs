//! What payment processors tell: payments, refunds, disputes.

use accounting::{AccountState, Payment};
use schemas::api::{Done, OutsideId, Refusal};
use schemas::event::{
    DisputeOutcome, PaymentDisputeClosedV1, PaymentDisputedV1, PaymentRefundedV1, PaymentSucceededV1,
};
use schemas::{AccountId, DisputeId, EventData, EventId, LotId, PaymentId, Usd};
use uuid::Uuid;

use super::{PAID_PRIORITY, invalid, positive, reason};
use crate::service::contact::label;
use crate::service::{Ledger, LedgerError};

/// Under which ids of payments and disputes are derived (UUIDv5). Changing it would make every repeat a new payment.
const OUTSIDE: Uuid = Uuid::from_u128(0x3f0c_9b52_7a64_4e0e_9d1b_52c1_6d2a_84f7);

const MAX_PROCESSOR_CHARACTERS: usize = 50;
const MAX_OUTSIDE_ID_CHARACTERS: usize = 255;

/// What a refund says beside its payment.
pub(super) struct Refund {
    pub(super) refund_id: String,
    pub(super) amount_usd: Usd,
    pub(super) fee_usd: Option<Usd>,
    pub(super) reason: String,
}

/// What a dispute says beside its payment.
pub(super) struct NewDispute {
    pub(super) dispute_id: String,
    pub(super) amount_usd: Usd,
    pub(super) fee_usd: Option<Usd>,
    pub(super) suspend: bool,
    pub(super) reason: String,
}

impl Ledger {
    pub(super) async fn record_payment(
        &self,
        account: AccountId,
        payment: &OutsideId,
        amount_usd: Usd,
        fee_usd: Option<Usd>,
    ) -> Result<Done, LedgerError> {
        let (processor, payment_id) = payment_id(payment)?;
        cents("amount_usd", amount_usd)?;
        fee(fee_usd)?;
        let _payments = self.payments.lock().await;
        let _turn = self.turn(account).await;
        let (id, lot_id) = (EventId(payment_id.derive("succeeded")), LotId(payment_id.derive("lot")));
        let priority = PAID_PRIORITY;
        let data = PaymentSucceededV1 { payment_id, processor, amount_usd, fee_usd, lot_id, priority };
        let data = EventData::PaymentSucceeded(data);
        if let Some(done) = self.repeat(id, account, "payment", |before| *before == data).await? {
            return Ok(done);
        }
        self.stored(account).await?;
        self.done(id, account, data, "payment").await
    }

    pub(super) async fn refund(
        &self,
        account: AccountId,
        payment: &OutsideId,
        refund: Refund,
    ) -> Result<Done, LedgerError> {
        let (processor, payment_id) = payment_id(payment)?;
        let Refund { refund_id, amount_usd, fee_usd, reason: why } = refund;
        let reason = reason(&why)?;
        let refund_id = label("refund_id", &refund_id, MAX_OUTSIDE_ID_CHARACTERS)?;
        cents("amount_usd", amount_usd)?;
        fee(fee_usd)?;
        let _turn = self.turn(account).await;
        let id = EventId(payment_id.derive(&format!("refunded:{refund_id}")));
        let data = EventData::PaymentRefunded(PaymentRefundedV1 { payment_id, processor, amount_usd, fee_usd, reason });
        if let Some(done) = self.repeat(id, account, "refund_id", |before| *before == data).await? {
            return Ok(done);
        }
        within(&self.stored(account).await?.state, payment, payment_id, amount_usd)?;
        self.done(id, account, data, "payment").await
    }

    pub(super) async fn open_dispute(
        &self,
        account: AccountId,
        payment: &OutsideId,
        dispute: NewDispute,
    ) -> Result<Done, LedgerError> {
        let (processor, payment_id) = payment_id(payment)?;
        let NewDispute { dispute_id, amount_usd, fee_usd, suspend, reason: why } = dispute;
        let reason = reason(&why)?;
        let (_, dispute_id) = dispute_of(&OutsideId { processor: processor.clone(), id: dispute_id })?;
        cents("amount_usd", amount_usd)?;
        fee(fee_usd)?;
        let _turn = self.turn(account).await;
        let id = EventId(dispute_id.derive("disputed"));
        let data = PaymentDisputedV1 { dispute_id, payment_id, processor, amount_usd, fee_usd, suspend, reason };
        let data = EventData::PaymentDisputed(data);
        if let Some(done) = self.repeat(id, account, "dispute_id", |before| *before == data).await? {
            return Ok(done);
        }
        within(&self.stored(account).await?.state, payment, payment_id, amount_usd)?;
        self.done(id, account, data, "payment").await
    }

    pub(super) async fn close_dispute(
        &self,
        account: AccountId,
        dispute: &OutsideId,
        outcome: DisputeOutcome,
        reinstate: bool,
    ) -> Result<Done, LedgerError> {
        let (processor, dispute_id) = dispute_of(dispute)?;
        let _turn = self.turn(account).await;
        let id = EventId(dispute_id.derive("closed"));
        let is_same = |before: &EventData| match before {
            EventData::PaymentDisputeClosed(data) => (data.outcome, data.reinstate) == (outcome, reinstate),
            _ => false,
        };
        if let Some(done) = self.repeat(id, account, "dispute", is_same).await? {
            return Ok(done);
        }
        let state = self.stored(account).await?.state;
        let unknown = || invalid("dispute", format!("the account has no open dispute `{}` of {processor}", dispute.id));
        let payment_id = state.disputes.get(&dispute_id).ok_or_else(unknown)?.payment;
        let data = PaymentDisputeClosedV1 { dispute_id, payment_id, outcome, reinstate };
        self.done(id, account, EventData::PaymentDisputeClosed(data), "dispute").await
    }
}

/// A payment of the account that a command names.
pub(super) fn of_account(state: &AccountState, payment: &OutsideId) -> Result<PaymentId, Refusal> {
    let (_, id) = payment_id(payment)?;
    known(state, payment, id).map(|_| id)
}

fn payment_id(payment: &OutsideId) -> Result<(String, PaymentId), Refusal> {
    let (processor, id) = outside("payment", payment)?;
    Ok((processor, PaymentId(id)))
}

fn dispute_of(dispute: &OutsideId) -> Result<(String, DisputeId), Refusal> {
    let (processor, id) = outside("dispute", dispute)?;
    Ok((processor, DisputeId(id)))
}

/// The processor's name, and our id of what it calls `id`.
fn outside(kind: &str, outside: &OutsideId) -> Result<(String, Uuid), Refusal> {
    let processor = label("processor", &outside.processor, MAX_PROCESSOR_CHARACTERS)?;
    // No colon: it parts the name from the id.
    if !processor.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err(invalid("processor", format!("`{processor}`; a name has letters, digits, `-` and `_` only")));
    }
    let id = label(kind, &outside.id, MAX_OUTSIDE_ID_CHARACTERS)?;
    let id = Uuid::new_v5(&OUTSIDE, format!("{kind}:{processor}:{id}").as_bytes());
    Ok((processor, id))
}

fn known<'a>(state: &'a AccountState, payment: &OutsideId, id: PaymentId) -> Result<&'a Payment, Refusal> {
    let unknown = || {
        let (name, processor) = (&payment.id, &payment.processor);
        invalid("payment", format!("the account has no payment `{name}` of {processor} of which something is left"))
    };
    state.payments.get(&id).ok_or_else(unknown)
}

/// Refuses to take back more than was paid.
fn within(state: &AccountState, payment: &OutsideId, id: PaymentId, amount: Usd) -> Result<(), Refusal> {
    let left = known(state, payment, id)?.left;
    let beyond = || invalid("amount_usd", format!("{amount} USD; of the payment {left} USD are left to pay back"));
    (amount <= left).then_some(()).ok_or_else(beyond)
}

fn cents(field: &str, amount: Usd) -> Result<(), Refusal> {
    positive(field, amount)?;
    let parts = || invalid(field, format!("{amount} USD; processors pay whole cents"));
    amount.is_whole_cents().then_some(()).ok_or_else(parts)
}

fn fee(fee: Option<Usd>) -> Result<(), Refusal> {
    fee.map_or(Ok(()), |fee| positive("fee_usd", fee))
}
