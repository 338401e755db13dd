//! Events that charge a plan's price: what that takes of the account's credit is set aside first, beside what leases
//! reserve, so that nothing which gateways were granted is charged twice (I8).
//!
//! An event's record is kept with what it sets aside until it is known what became of it. Whoever stops in between leaves
//! both, and the next ledger that looks appends the record again: an event posts once, so it does not matter how far the
//! first one got. What is set aside is never given back by a clock.

use std::time::Duration;

use accounting::lease;
use schemas::api::Refusal;
use schemas::{AccountId, EventData, EventId, Timestamp};
use tracing::{info, warn};

use super::outcome::Posted;
use super::{Ledger, LedgerError};
use crate::store::{PlanCharge, SetAside};

/// How long nobody else asks what became of an event that a price was set aside for. Earlier would only append it twice.
const ASK_AFTER: Duration = Duration::from_mins(1);

/// Events that are asked about at once.
const AT_ONCE: u32 = 100;

impl Ledger {
    /// As [`Ledger::post`], of an event that may charge a plan's price.
    ///
    /// # Errors
    /// [`Refusal::CreditReserved`] where running requests were granted too much of the account's credit: nothing is
    /// appended. Otherwise as [`Ledger::post`]; where it is not known whether the event is appended, it is later.
    pub(super) async fn post_charge(
        &self,
        id: EventId,
        account: AccountId,
        data: EventData,
        field: &str,
    ) -> Result<Posted, LedgerError> {
        if lease::price(&data).is_none() {
            return self.post(id, account, data, field).await;
        }
        let event = self.event(id, account, data);
        let record = event.encode().map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        match self.parts.store.set_aside(&event, &record, self.parts.outside.now()).await? {
            SetAside::Done => {}
            SetAside::TooLittle { due, credit, reserved } => {
                let refusal = Refusal::CreditReserved { due_usd: due, credit_usd: credit, reserved_usd: reserved };
                return Err(refusal.into());
            }
            SetAside::NoAccount => return Err(Refusal::UnknownAccount { account: account.to_string() }.into()),
            SetAside::Refolding => {
                let why = "its store is being folded again, and no plan's price is charged until it knows again what \
                           accounts have";
                return Err(LedgerError::Unavailable(why.into()));
            }
        }
        self.settle(id, account, record, field).await
    }

    /// Appends the record, and gives back what was set aside for it once that is of no more use.
    async fn settle(
        &self,
        id: EventId,
        account: AccountId,
        record: Vec<u8>,
        field: &str,
    ) -> Result<Posted, LedgerError> {
        match self.post_record(id, account, record, field).await {
            // Nobody knows whether it is in the log, or when it posts.
            Err(error @ (LedgerError::NotYetApplied { .. } | LedgerError::Unavailable(_))) => {
                warn!(event = %id, %account, %error, "a plan's price stays set aside until its event is known to be applied");
                Err(error)
            }
            known => {
                if let Err(error) = self.parts.store.release_charge(id, account).await {
                    warn!(event = %id, %account, %error, "what was set aside for a plan's price is looked after later");
                }
                known
            }
        }
    }

    /// Finds out what became of events whose price was set aside a while ago; how many were left. Those whose ledger died
    /// before it appended them post now.
    ///
    /// # Errors
    /// The store can't be reached. The trouble of a single event is logged, and holds up no other.
    pub(super) async fn settle_left_charges(&self) -> Result<u64, LedgerError> {
        let ask_after = i64::try_from(ASK_AFTER.as_micros()).unwrap_or(i64::MAX);
        let before = Timestamp::from_micros(self.parts.outside.now().as_micros().saturating_sub(ask_after));
        let left = self.parts.store.charges_before(before, AT_ONCE).await?;
        let count = left.len() as u64;
        for PlanCharge { event_id, account_id, record } in left {
            if self.parts.store.posted(event_id).await?.is_some() {
                self.parts.store.release_charge(event_id, account_id).await?;
                continue;
            }
            let _turn = self.turn(account_id).await;
            match self.settle(event_id, account_id, record, "subscription").await {
                Ok(_) => {
                    info!(event = %event_id, account = %account_id, "a plan's price that was set aside is charged");
                }
                Err(error) => {
                    warn!(event = %event_id, account = %account_id, %error, "a plan's price that was set aside");
                }
            }
        }
        Ok(count)
    }
}
