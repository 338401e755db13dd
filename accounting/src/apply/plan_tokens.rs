//! Plan tokens: a commodity of their own, in lots that end with their period.

use schemas::LotId;

use crate::journal::Journal;
use crate::{AccountState, Code, LedgerAccount, TokenLot};

/// Adds a period's own tokens.
pub(super) fn grant(state: &mut AccountState, journal: &mut Journal, lot: LotId, tokens: u64) {
    let issued = LedgerAccount::TokensIssued(state.plan.id.as_str().into());
    let held = LedgerAccount::TokensHeld(state.id);
    if let Some(subscription) = &mut state.subscription
        && tokens > 0
    {
        journal.tokens(issued, held, tokens, Code::TokensGranted, lot);
        subscription.tokens.push(TokenLot { id: lot, granted: tokens, remaining: tokens, rolled_over: false });
    }
}

/// Uses up to `tokens` for a model, those that rolled over first, and returns how many there were.
pub(super) fn spend(state: &mut AccountState, journal: &mut Journal, model: &str, tokens: u64) -> u64 {
    let Some(subscription) = &mut state.subscription else { return 0 };
    let mut left = tokens;
    for lot in &mut subscription.tokens {
        if left == 0 {
            break;
        }
        let used = take(lot, left);
        left -= used;
        let (held, model) = (LedgerAccount::TokensHeld(state.id), LedgerAccount::TokensUsed(model.into()));
        journal.tokens(held, model, used, Code::TokensUsed, lot.id);
    }
    subscription.tokens.retain(|lot| lot.remaining > 0);
    tokens - left
}

/// Gives tokens back to the open period, whichever period they were used in; none where there is no open period. They are
/// its own again up to its quota, so that its price never counts for more tokens than it bought; what is beyond that is as
/// if it had rolled over.
pub(super) fn give_back(state: &mut AccountState, journal: &mut Journal, model: &str, lot: LotId, tokens: u64) {
    let Some(subscription) = &mut state.subscription else { return };
    if tokens == 0 {
        return;
    }
    let quota = state.plan.tokens_per_month;
    let (used, held) = (LedgerAccount::TokensUsed(model.into()), LedgerAccount::TokensHeld(state.id));
    let mut back = |tokens, lot| journal.tokens(used.clone(), held.clone(), tokens, Code::TokensReturned, lot);
    let own = subscription.tokens.iter().position(|lot| !lot.rolled_over);
    let room = own.map_or(quota, |own| subscription.tokens[own].granted - subscription.tokens[own].remaining);
    let (fits, beyond) = (tokens.min(room), tokens.saturating_sub(room));
    match own {
        Some(own) => {
            let own = &mut subscription.tokens[own];
            back(fits, own.id);
            own.remaining += fits;
        }
        None if fits > 0 => {
            back(fits, lot);
            subscription.tokens.push(TokenLot { id: lot, granted: quota, remaining: fits, rolled_over: false });
        }
        None => {}
    }
    if beyond > 0 {
        let id = LotId(lot.derive("beyond the quota"));
        back(beyond, id);
        let before_own = subscription.tokens.iter().position(|lot| !lot.rolled_over);
        let at = before_own.unwrap_or(subscription.tokens.len());
        subscription.tokens.insert(at, TokenLot { id, granted: beyond, remaining: beyond, rolled_over: true });
    }
}

/// Lets up to `tokens` of a lot lapse, and returns how many there were.
pub(super) fn lapse(state: &AccountState, journal: &mut Journal, lot: &mut TokenLot, tokens: u64) -> u64 {
    let lapsed = take(lot, tokens);
    let plan = LedgerAccount::TokensLapsed(state.plan.id.as_str().into());
    journal.tokens(LedgerAccount::TokensHeld(state.id), plan, lapsed, Code::TokensLapsed, lot.id);
    lapsed
}

fn take(lot: &mut TokenLot, tokens: u64) -> u64 {
    let taken = lot.remaining.min(tokens);
    lot.remaining -= taken;
    taken
}
