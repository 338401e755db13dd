//! What keeps this gateway's leases: renewed while they are used, given back when they are not, closed at the end, as are
//! those that the runs before this one left.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use schemas::api::{CloseLeases, Funds};
use tokio::time::{Instant, sleep, timeout};

use super::{Account, Accounts, lock};

/// How often leases are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often the ledger hears of a lease that is used: this soon it learns what others may have.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Unused for so long, a lease is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(5);
/// Messages on their way at once.
const AT_ONCE: usize = 16;
/// How long a stop waits for its leases to be closed. The next run closes what is left.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
const CLOSE_AGAIN_AFTER: Duration = Duration::from_millis(50);
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Keeps a gateway's leases until it is dropped or closed.
pub struct Keeper {
    accounts: Arc<Accounts>,
}

impl Keeper {
    pub(crate) fn new(accounts: Arc<Accounts>) -> Self {
        Self { accounts }
    }

    /// Renews what is used and closes what is not, for ever.
    pub async fn keep(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            let now = Instant::now();
            let due = self.accounts.all().into_iter().filter(|account| {
                let book = lock(&account.book);
                let book_is_due = book.is_due(now, RENEW_EVERY) || book.is_stale(now, CLOSE_AFTER);
                drop(book);
                book_is_due || lock(&account.limiter).is_due(now, RENEW_EVERY)
            });
            stream::iter(due.collect::<Vec<_>>()).for_each_concurrent(AT_ONCE, |account| tend(account, now)).await;
        }
    }

    /// Closes every lease that nothing runs on: after the last request.
    pub async fn close(&self) {
        let all = self.accounts.all();
        let close = stream::iter(all).for_each_concurrent(AT_ONCE, close);
        if timeout(CLOSE_WITHIN, close).await.is_err() {
            tracing::warn!("not all leases could be closed; the next start closes them");
        }
    }

    /// Ends the leases of the runs before this one. Once all that those recorded is in the log.
    pub async fn close_earlier(&self) {
        let lessee = &self.accounts.lessee;
        let close = CloseLeases { gateway_id: lessee.sender.gateway_id, run_id: lessee.sender.run_id };
        loop {
            match lessee.ledger.close_leases(close).await {
                Ok(closed) if closed.leases == 0 => return,
                Ok(closed) => return tracing::info!(leases = closed.leases, "leases of an earlier run are closed"),
                Err(error) => tracing::warn!(%error, "leases of earlier runs can't be closed yet; trying again"),
            }
            sleep(TRY_AGAIN_AFTER).await;
        }
    }
}

/// Closes a lease, once the message that is on its way is answered, and again where that goes wrong.
async fn close(account: Arc<Account>) {
    while !lock(&account.book).is_empty() {
        let close = lock(&account.book).close(Instant::now(), account.lessee.sender, account.id());
        match close {
            Some(close) if account.send(&close).await.is_ok() => {}
            _ => sleep(CLOSE_AGAIN_AFTER).await,
        }
    }
}

async fn tend(account: Arc<Account>, now: Instant) {
    let stale = lock(&account.book).is_stale(now, CLOSE_AFTER);
    let close = stale.then(|| lock(&account.book).close(now, account.lessee.sender, account.id())).flatten();
    let answer = match close {
        Some(close) => Some(account.send(&close).await),
        None => account.ask(Funds::ZERO).await,
    };
    if let Some(Err(error)) = answer {
        tracing::warn!(account = %account.id(), %error, "a lease could not be renewed");
    }
}
