//! Admitting requests by the plan's limits: from this gateway's share of them, else by asking the ledger for more.

use std::sync::Arc;
use std::time::Duration;

use schemas::api::Funds;
use tokio::time::{Instant, sleep};

use super::account::Running;
use super::{Account, lock};
use crate::limits::{NotAdmitted, TooMany};
use crate::ports::LedgerError;

/// How long a request waits for the ledger to say whether it may be admitted.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a request waits for what other gateways have of the requests at once and do not use.
const ELSEWHERE_WITHIN: Duration = Duration::from_millis(2_500);
/// How soon it asks again, where another message is on its way or an answer was of no use.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Why a request is not admitted.
#[derive(Clone, Debug)]
pub(crate) enum Unadmitted {
    /// It came too soon.
    TooMany(TooMany),
    /// The ledger did not say whether it did.
    Ledger(LedgerError),
}

impl Account {
    /// Admits a request by the plan's limits, for as long as the answer is kept.
    pub(crate) async fn admit(self: &Arc<Self>) -> Result<Running, Unadmitted> {
        match self.try_admit(Instant::now()) {
            Ok(running) => Ok(running),
            Err(NotAdmitted::TooMany(refused)) => Err(Unadmitted::TooMany(refused)),
            Err(NotAdmitted::NoShare | NotAdmitted::Elsewhere(_)) => self.admit_by_asking().await,
        }
    }

    async fn admit_by_asking(self: &Arc<Self>) -> Result<Running, Unadmitted> {
        let _waits = Waits::new(self);
        let since = Instant::now();
        let until = since + ANSWER_WITHIN;
        let mut told = false;
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            match self.try_admit(now) {
                Ok(running) => return Ok(running),
                Err(NotAdmitted::TooMany(refused)) => return Err(Unadmitted::TooMany(refused)),
                Err(NotAdmitted::Elsewhere(refused)) if now >= since + ELSEWHERE_WITHIN => {
                    return Err(Unadmitted::TooMany(refused));
                }
                Err(NotAdmitted::Elsewhere(_)) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep(LOOK_AGAIN_AFTER) => {}
                    }
                    told = false;
                    continue;
                }
                Err(NotAdmitted::NoShare) if now < until => {}
                Err(NotAdmitted::NoShare) => {
                    let error = format!("no share of the account's requests within {ANSWER_WITHIN:?}");
                    return Err(Unadmitted::Ledger(LedgerError::Unavailable(error)));
                }
            }
            let answer = if told { None } else { self.ask(Funds::ZERO).await };
            told = answer.is_some();
            match answer {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Unadmitted::Ledger(error)),
                None => tokio::select! {
                    () = changed => {}
                    () = sleep(LOOK_AGAIN_AFTER) => {}
                },
            }
        }
    }

    fn try_admit(self: &Arc<Self>, now: Instant) -> Result<Running, NotAdmitted> {
        let limits = self.limits();
        let low = lock(&self.limiter).admit(now, limits)?;
        let running = Running::new(self);
        if low {
            self.ask_in_background(Funds::ZERO);
        }
        Ok(running)
    }

    /// Whether a request would be refused by the plan's limits, as far as this gateway knows.
    pub(crate) fn would_admit(&self, now: Instant) -> Result<(), TooMany> {
        let limits = self.limits();
        match lock(&self.limiter).check(now, limits) {
            Err(NotAdmitted::TooMany(refused) | NotAdmitted::Elsewhere(refused)) => Err(refused),
            Err(NotAdmitted::NoShare) | Ok(()) => Ok(()),
        }
    }
}

/// A request that waits for the ledger's answer until this is dropped.
struct Waits<'a>(&'a Account);

impl<'a> Waits<'a> {
    fn new(account: &'a Account) -> Self {
        lock(&account.limiter).waits(true);
        Self(account)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        lock(&self.0.limiter).waits(false);
    }
}
