//! Suspending, reinstating and closing accounts.

use accounting::Suspension;
use schemas::api::Done;
use schemas::event::{AccountClosedV1, AccountReinstatedV1, AccountSuspendedV1};
use schemas::{AccountId, EventData, EventId};

use super::{not_closed, nothing_to_do, reason};
use crate::service::{Ledger, LedgerError};

impl Ledger {
    pub(super) async fn suspend(&self, account: AccountId, why: &str) -> Result<Done, LedgerError> {
        let reason = reason(why)?;
        let _turn = self.turn(account).await;
        let state = self.stored(account).await?.state;
        not_closed(&state)?;
        if state.suspensions.contains(&Suspension::Operator) {
            return nothing_to_do(&state);
        }
        let data = EventData::AccountSuspended(AccountSuspendedV1 { reason });
        self.done(EventId(self.fresh()), account, data, "account").await
    }

    pub(super) async fn reinstate(&self, account: AccountId, why: &str) -> Result<Done, LedgerError> {
        let reason = reason(why)?;
        let _turn = self.turn(account).await;
        let state = self.stored(account).await?.state;
        not_closed(&state)?;
        if state.suspensions.is_empty() {
            return nothing_to_do(&state);
        }
        let data = EventData::AccountReinstated(AccountReinstatedV1 { reason });
        self.done(EventId(self.fresh()), account, data, "account").await
    }

    pub(super) async fn close_account(&self, account: AccountId, why: &str) -> Result<Done, LedgerError> {
        let reason = reason(why)?;
        let _turn = self.turn(account).await;
        let state = self.stored(account).await?.state;
        if state.closed {
            return nothing_to_do(&state);
        }
        let data = EventData::AccountClosed(AccountClosedV1 { reason });
        self.done(EventId(account.derive("account.closed")), account, data, "account").await
    }
}
