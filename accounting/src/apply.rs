//! `apply(state, event) → outcome`: the one place where an event changes an account.

use std::collections::BTreeMap;

use schemas::api::{AccountStatus, EntryDetail};
use schemas::event::{AccountOpenedV1, CreditGrantedV1, KeyIssuedV1, UsageRecordedV1};
use schemas::{Event, EventData, Offset, Usd};

use crate::lots::{self, Draw};
use crate::transfer::{Code, Commodity, LedgerAccount, Transfer};
use crate::{AccountState, Key, Lot, Outcome, Posting, Reason, rating};

/// Applies an event whose id was not posted before to the account it is about. Where the outcome is
/// [`Outcome::Quarantined`], `account` is as it was.
pub(crate) fn apply(account: &mut Option<AccountState>, event: &Event, offset: Offset) -> Outcome {
    let mut after = account.clone();
    match change(&mut after, event, offset) {
        Ok(posting) => {
            *account = after;
            Outcome::Applied(posting)
        }
        Err(reason) => Outcome::Quarantined(reason),
    }
}

fn change(account: &mut Option<AccountState>, event: &Event, offset: Offset) -> Result<Posting, Reason> {
    if let Some((field, _)) = texts(&event.data).into_iter().find(|(_, text)| text.contains('\0')) {
        return Err(Reason::NulCharacter { field });
    }
    let state = match (&event.data, account.as_mut()) {
        (EventData::AccountOpened(_), Some(_)) => return Err(Reason::AlreadyOpen),
        (EventData::AccountOpened(data), None) => {
            *account = Some(opened(event, data, offset));
            return Ok(Posting { transfers: vec![], amount: Usd::ZERO, balance: Usd::ZERO, detail: None });
        }
        (_, None) => return Err(Reason::UnknownAccount),
        (_, Some(state)) => state,
    };
    let before = state.balance().ok_or(Reason::OutOfRange)?;
    let (transfers, detail) = match &event.data {
        EventData::AccountOpened(_) => return Err(Reason::AlreadyOpen),
        EventData::KeyIssued(data) => {
            key_issued(state, data)?;
            (vec![], None)
        }
        EventData::CreditGranted(data) => {
            let detail = EntryDetail::Credit { lot_id: data.lot_id, reason: data.reason.clone() };
            (credit_granted(state, data)?, Some(detail))
        }
        EventData::UsageRecorded(data) => (usage_recorded(state, data)?, Some(usage_detail(data))),
    };
    state.version = offset;
    let balance = state.balance().filter(|balance| balance.in_range()).ok_or(Reason::OutOfRange)?;
    let amount = balance.checked_sub(before).ok_or(Reason::OutOfRange)?;
    Ok(Posting { transfers, amount, balance, detail })
}

/// The free texts that stores keep.
fn texts(data: &EventData) -> Vec<(&'static str, &str)> {
    match data {
        EventData::AccountOpened(data) => vec![("plan.id", &data.plan.id)],
        EventData::KeyIssued(data) => vec![("name", &data.name), ("hint", &data.hint)],
        EventData::CreditGranted(data) => vec![("reason", &data.reason)],
        EventData::UsageRecorded(data) => vec![("model", &data.model), ("upstream", &data.upstream)],
    }
}

fn opened(event: &Event, data: &AccountOpenedV1, offset: Offset) -> AccountState {
    AccountState {
        id: event.subject,
        status: AccountStatus::Active,
        plan: data.plan.clone(),
        opened_at: event.time,
        keys: BTreeMap::new(),
        lots: Vec::new(),
        lots_opened: 0,
        debt: Usd::ZERO,
        version: offset,
    }
}

fn key_issued(state: &mut AccountState, data: &KeyIssuedV1) -> Result<(), Reason> {
    if state.keys.contains_key(&data.key_id) {
        return Err(Reason::KeyExists(data.key_id));
    }
    let key = Key { hash: data.hash, name: data.name.clone(), hint: data.hint.clone() };
    state.keys.insert(data.key_id, key);
    Ok(())
}

fn credit_granted(state: &mut AccountState, data: &CreditGrantedV1) -> Result<Vec<Transfer>, Reason> {
    if !data.amount_usd.is_positive() {
        return Err(Reason::AmountNotPositive(data.amount_usd));
    }
    if !data.amount_usd.in_range() {
        return Err(Reason::OutOfRange);
    }
    if state.lots.iter().any(|lot| lot.id == data.lot_id) {
        return Err(Reason::LotExists(data.lot_id));
    }
    let mut transfers = vec![Transfer {
        debit: LedgerAccount::PromotionalExpense,
        credit: LedgerAccount::CustomerCredit(state.id),
        commodity: Commodity::Usd,
        amount: data.amount_usd,
        code: Code::Grant,
        lot: Some(data.lot_id),
    }];
    let settled = state.debt.min(data.amount_usd);
    if settled.is_positive() {
        transfers.push(Transfer {
            debit: LedgerAccount::CustomerCredit(state.id),
            credit: LedgerAccount::CustomerDebt(state.id),
            commodity: Commodity::Usd,
            amount: settled,
            code: Code::DebtSettled,
            lot: Some(data.lot_id),
        });
    }
    state.debt = state.debt.checked_sub(settled).ok_or(Reason::OutOfRange)?;
    let remaining = data.amount_usd.checked_sub(settled).ok_or(Reason::OutOfRange)?;
    if remaining.is_positive() {
        let lot = Lot {
            id: data.lot_id,
            source: data.source,
            amount: data.amount_usd,
            remaining,
            priority: data.priority,
            sequence: state.lots_opened,
        };
        lots::insert(&mut state.lots, lot);
    }
    state.lots_opened += 1;
    Ok(transfers)
}

fn usage_recorded(state: &mut AccountState, data: &UsageRecordedV1) -> Result<Vec<Transfer>, Reason> {
    let rated = rating::cost(&data.tokens, &data.price).ok_or(Reason::InconsistentTokens)?;
    if rated != data.cost_usd {
        return Err(Reason::CostMismatch { stated: data.cost_usd, rated });
    }
    if !rated.in_range() {
        return Err(Reason::OutOfRange);
    }
    let (draws, uncovered) = lots::draw(&mut state.lots, rated).ok_or(Reason::OutOfRange)?;
    state.debt = state.debt.checked_add(uncovered).ok_or(Reason::OutOfRange)?;
    let transfer = |debit, amount, code, lot| Transfer {
        debit,
        credit: LedgerAccount::UsageRevenue(data.model.clone()),
        commodity: Commodity::Usd,
        amount,
        code,
        lot,
    };
    let mut transfers: Vec<_> = draws
        .into_iter()
        .map(|Draw { lot, amount }| transfer(LedgerAccount::CustomerCredit(state.id), amount, Code::Usage, Some(lot)))
        .collect();
    if uncovered.is_positive() {
        transfers.push(transfer(LedgerAccount::CustomerDebt(state.id), uncovered, Code::UsageOnDebt, None));
    }
    Ok(transfers)
}

fn usage_detail(data: &UsageRecordedV1) -> EntryDetail {
    EntryDetail::Usage {
        request_id: data.request_id,
        key_id: data.key_id,
        model: data.model.clone(),
        outcome: data.outcome,
        accuracy: data.accuracy,
        tokens: data.tokens,
    }
}

#[cfg(test)]
mod tests;
