//! Credit that an operator gives or takes, and lots whose time is over.

use accounting::{AccountState, Lot};
use schemas::api::{Adjustment, Done, Refusal};
use schemas::event::{CreditAdjustedV1, CreditChange};
use schemas::{AccountId, EventData, EventId, LotId, Timestamp};

use super::{GIVEN_PRIORITY, invalid, positive, reason};
use crate::service::{Ledger, LedgerError};

impl Ledger {
    pub(super) async fn adjust_credit(
        &self,
        account: AccountId,
        adjustment: Adjustment,
        why: &str,
        key: Option<&str>,
    ) -> Result<Done, LedgerError> {
        let reason = reason(why)?;
        let id = EventId(self.keyed(account, "adjust", key)?);
        let change = match adjustment {
            Adjustment::Give { amount_usd } => {
                CreditChange::Give { lot_id: LotId(id.derive("lot")), amount_usd, priority: GIVEN_PRIORITY }
            }
            Adjustment::Take { amount_usd, lot_id } => CreditChange::Take { lot_id, amount_usd },
            Adjustment::Expire { lot_id } => CreditChange::Expire { lot_id },
        };
        let _turn = self.turn(account).await;
        let data = EventData::CreditAdjusted(CreditAdjustedV1 { change, reason });
        if let Some(done) = self.repeat(id, account, "idempotency_key", |before| *before == data).await? {
            return Ok(done);
        }
        possible(&self.stored(account).await?.state, self.parts.outside.now(), &adjustment)?;
        self.done(id, account, data, "adjustment").await
    }
}

/// What the fold would take otherwise, and an operator did not mean: a lot that is not there is no lot to take from.
fn possible(state: &AccountState, now: Timestamp, adjustment: &Adjustment) -> Result<(), Refusal> {
    match *adjustment {
        Adjustment::Give { amount_usd } => positive("amount_usd", amount_usd),
        Adjustment::Take { amount_usd, lot_id } => {
            positive("amount_usd", amount_usd)?;
            lot_id.map_or(Ok(()), |lot_id| lot(state, lot_id).map(drop))
        }
        Adjustment::Expire { lot_id } => match lot(state, lot_id)?.expires_at {
            Some(end) if end <= now => Ok(()),
            Some(end) => Err(invalid("lot", format!("lot {lot_id} may be closed from {end} on"))),
            None => Err(invalid("lot", format!("lot {lot_id} never expires"))),
        },
    }
}

fn lot(state: &AccountState, id: LotId) -> Result<&Lot, Refusal> {
    let unknown =
        || invalid("lot", format!("the account has no lot {id} with money left; `modelhub admin balance` lists them"));
    state.lots.iter().find(|lot| lot.id == id).ok_or_else(unknown)
}
