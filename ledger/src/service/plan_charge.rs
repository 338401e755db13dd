//! Events that charge a plan's price: what that takes of the account's credit is set aside first, beside what leases
//! reserve, so that nothing which gateways were granted is charged twice (I8).
//!
//! Whoever stops in between leaves what it set aside. An append begins soon after that, or never, and a log takes a record
//! within its own time, or never; so after [`LONG`] the event is in the log, or never will be. Once that log is folded, what is
//! left is given back. Nothing is appended for somebody else: whether a price is due, and paid for, is decided anew.

use std::time::{Duration, Instant};

use schemas::api::Refusal;
use schemas::{AccountId, EventData, EventId, Timestamp};
use tracing::warn;

use super::outcome::Posted;
use super::{Ledger, LedgerError};
use crate::store::{PlanCharge, SetAside};

/// The longest time from setting a price aside to the begin of its event's append.
const FENCE: Duration = Duration::from_secs(30);
/// Twice as long as [`FENCE`] and an append to the brokers (30 s) take at most.
const LONG: Duration = Duration::from_mins(2);

/// Events that are asked about at once.
const AT_ONCE: u32 = 100;

impl Ledger {
    /// As [`Ledger::post`], of an event that may charge a plan's price.
    ///
    /// # Errors
    /// [`Refusal::CreditReserved`] where running requests were granted too much of the account's credit: nothing is
    /// appended. Otherwise as [`Ledger::post`]; where it is not known whether the event is appended, its price stays set aside
    /// until it is.
    pub(super) async fn post_charge(
        &self,
        id: EventId,
        account: AccountId,
        data: EventData,
        field: &str,
    ) -> Result<Posted, LedgerError> {
        let (event, now, began) = (self.event(id, account, data), self.parts.outside.now(), Instant::now());
        match self.parts.store.set_aside(&event, now).await? {
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
        if began.elapsed() > FENCE {
            let why = format!("more than {} s have passed since the plan's price was set aside", FENCE.as_secs());
            return Err(LedgerError::Unavailable(why));
        }
        match self.post(id, account, event.data, field).await {
            Err(error @ (LedgerError::NotYetApplied { .. } | LedgerError::Unavailable(_))) => {
                warn!(event = %id, %account, %error, "a plan's price stays set aside until it is known what became of it");
                Err(error)
            }
            known => {
                if let Err(error) = self.parts.store.release_charge(id, account, now).await {
                    warn!(event = %id, %account, %error, "what was set aside for a plan's price is looked after later");
                }
                known
            }
        }
    }

    /// What was set aside before then has its event in the log by now, if ever.
    pub(super) fn long_ago(&self) -> Timestamp {
        let long = i64::try_from(LONG.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.parts.outside.now().as_micros().saturating_sub(long))
    }

    /// Gives back what was set aside before `long_ago` and is still there; how often. Right only where all is folded that was
    /// in the log at [`Ledger::long_ago`] or later.
    ///
    /// # Errors
    /// The store can't tell what is left. The trouble of a single event is logged, and holds up no other.
    pub(super) async fn release_left_charges(&self, long_ago: Timestamp) -> Result<u64, LedgerError> {
        let mut count = 0;
        for PlanCharge { event_id, account_id } in self.parts.store.charges_before(long_ago, AT_ONCE).await? {
            match self.parts.store.release_charge(event_id, account_id, long_ago).await {
                Ok(()) => {
                    count += 1;
                    warn!(event = %event_id, account = %account_id, "what was set aside for a plan's price is given back");
                }
                Err(error) => warn!(event = %event_id, account = %account_id, %error, "what was set aside stays so"),
            }
        }
        Ok(count)
    }
}
