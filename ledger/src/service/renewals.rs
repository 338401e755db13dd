//! Ends of subscription periods: what is due is renewed, put past due or ended, by events.
//!
//! Whether anything is due is a question to a clock; what follows is a pure function of the account's state, the catalogue
//! and the time ([`due::next`]). An event's id is derived from the subscription and the period that it closes, so any number
//! of ledgers may look at the same time: each end posts once.

mod due;
#[cfg(test)]
mod reserved_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use schemas::api::Refusal;
use schemas::event::Period;
use schemas::{AccountId, EventId, LotId, SubscriptionId};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::due::Next;
use super::{Ledger, LedgerError};

/// The plan of the catalogue that an account is on once its subscription has ended.
pub(super) const PLAN_AFTER: &str = "free";

/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Accounts looked up at once, and events waited for at once.
const PAGE: u32 = 500;
const AT_ONCE: usize = 16;

/// The id of the event that something happened to a subscription at the end of a period.
pub(super) fn event_id(subscription: SubscriptionId, what: &str, closes: Period) -> EventId {
    EventId(subscription.derive(&format!("{what}:{}:{}", closes.start, closes.end)))
}

/// The lot of a period's tokens.
pub(super) fn token_lot(subscription: SubscriptionId, period: Period) -> LotId {
    LotId(subscription.derive(&format!("tokens:{}", period.start)))
}

/// Closes periods that are over.
pub struct Renewals {
    ledger: Arc<Ledger>,
    /// Events that can't post, each told once. To append them again would not help, and the log keeps every try.
    refused: Mutex<BTreeSet<EventId>>,
}

impl Renewals {
    /// Of the accounts of this ledger's store.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, refused: Mutex::default() }
    }

    /// Looks again and again until `stop`. What is appended then is waited for.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            let long_ago = self.ledger.long_ago();
            // What a ledger that is behind believes to be due was perhaps renewed long ago.
            match stop.run_until_cancelled(self.ledger.catch_up()).await {
                None => return,
                Some(Ok(())) => {
                    if let Err(error) = self.ledger.release_left_charges(long_ago).await {
                        warn!(%error, "which plans' prices are set aside could not be looked up; trying again");
                    }
                    if let Err(error) = self.ledger.settle_repeats().await {
                        warn!(%error, "which requests were charged twice could not be looked up; trying again");
                    }
                    if let Err(error) = self.look().await {
                        warn!(%error, "which periods are over could not be looked up; trying again");
                    }
                }
                Some(Err(error)) => warn!(%error, "which periods are over is looked up once the log can be read"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Takes every subscription whose period is over as far as it goes now; returns how many events that took.
    ///
    /// # Errors
    /// The store can't tell what is due. The trouble of a single account is logged, and holds up no other.
    pub async fn look(&self) -> Result<u64, LedgerError> {
        let (mut after, mut events) = (None, 0);
        loop {
            let parts = &self.ledger.parts;
            let now = parts.outside.now();
            let page = parts.store.due(now, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(events) };
            after = Some(*last);
            let loaded = parts.store.load(&page.into_iter().collect(), &BTreeSet::new()).await?;
            // Most of what is past due only waits for money, or for the end of its grace.
            let states = loaded.accounts.into_iter();
            let moves = states.filter(|(_, stored)| due::next(&stored.state, &parts.catalogue, now) != Next::Nothing);
            let accounts: Vec<_> = moves.map(|(account, _)| account).collect();
            let mut steps = stream::iter(accounts).map(|account| self.catch_up(account)).buffer_unordered(AT_ONCE);
            while let Some(step) = steps.next().await {
                events += step;
            }
        }
    }

    /// One account, period by period: after a long absence several are over.
    async fn catch_up(&self, account: AccountId) -> u64 {
        let _turn = self.ledger.turn(account).await;
        let mut events = 0;
        loop {
            match self.step(account).await {
                Ok(true) => events += 1,
                Ok(false) => return events,
                Err(error) => {
                    warn!(%account, %error, "a period that is over could not be closed; trying again");
                    return events;
                }
            }
        }
    }

    async fn step(&self, account: AccountId) -> Result<bool, LedgerError> {
        let parts = &self.ledger.parts;
        let state = self.ledger.stored(account).await?.state;
        let (id, data) = match due::next(&state, &parts.catalogue, parts.outside.now()) {
            Next::Nothing => return Ok(false),
            Next::NotSold { id, plan } => {
                if self.refused.lock().await.insert(id) {
                    error!(%account, plan, "a period that is over can't be renewed: put the plan back into the catalogue");
                }
                return Ok(false);
            }
            Next::Event { id, .. } if self.refused.lock().await.contains(&id) => return Ok(false),
            Next::Event { id, data } => (id, data),
        };
        let what = data.event_type();
        match self.ledger.post_charge(id, account, *data, "subscription").await {
            Ok(_) => {
                info!(%account, event = %id, what, "a subscription's period is over");
                Ok(true)
            }
            // The account can pay, once requests that run have ended or given back what they don't need.
            Err(LedgerError::Refused(refusal @ Refusal::CreditReserved { .. })) => {
                debug!(%account, event = %id, %refusal, "a period that is over is renewed later");
                Ok(false)
            }
            Err(LedgerError::Refused(refusal)) => {
                error!(%account, event = %id, what, %refusal, "a period that is over can't be closed");
                self.refused.lock().await.insert(id);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
