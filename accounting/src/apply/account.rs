//! `account.*` events.

use std::collections::{BTreeMap, BTreeSet};

use schemas::event::AccountOpenedV1;
use schemas::{Event, Offset, Usd};

use crate::{AccountState, Reason, Suspension};

pub(super) fn opened(event: &Event, data: &AccountOpenedV1, offset: Offset) -> AccountState {
    AccountState {
        id: event.subject,
        opened_at: event.time,
        closed: false,
        suspensions: BTreeSet::new(),
        plan: data.plan.clone(),
        paid: false,
        keys: BTreeMap::new(),
        lots: Vec::new(),
        lots_opened: 0,
        debt: Usd::ZERO,
        subscription: None,
        payments: BTreeMap::new(),
        disputes: BTreeMap::new(),
        decided_disputes: BTreeSet::new(),
        corrections: BTreeMap::new(),
        invoices_issued: 0,
        version: offset,
    }
}

pub(super) fn suspended(state: &mut AccountState) -> Result<(), Reason> {
    open(state)?;
    state.suspensions.insert(Suspension::Operator);
    Ok(())
}

/// Whatever suspended it: an operator who reinstates an account has decided about all of that.
pub(super) fn reinstated(state: &mut AccountState) -> Result<(), Reason> {
    open(state)?;
    state.suspensions.clear();
    Ok(())
}

/// Money stays where it is: what is left of it is still owed to the customer, and what still arrives still posts.
pub(super) fn closed(state: &mut AccountState) -> Result<(), Reason> {
    open(state)?;
    state.closed = true;
    state.keys.clear();
    Ok(())
}

/// Refuses what only an account that is not closed can do.
pub(super) fn open(state: &AccountState) -> Result<(), Reason> {
    if state.closed { Err(Reason::AccountClosed) } else { Ok(()) }
}
