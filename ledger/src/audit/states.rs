//! Accounts, side by side: in the order of their ids, a page of the database's at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use accounting::{AccountState, Key, Lot};
use schemas::{AccountId, KeyId, LotId, Usd};

use super::AuditError;
use super::report::{Finding, Report, Section};
use crate::store::snapshot::{AccountColumns, AccountRows, KeyColumns, LotColumns, Unreadable};
use crate::store::{Snapshot, StoredAccount};

/// Accounts of a page.
const PAGE: u32 = 1_000;

pub(super) async fn compare(
    snapshot: &mut dyn Snapshot,
    replayed: &BTreeMap<AccountId, StoredAccount>,
    report: &mut Report,
) -> Result<(), AuditError> {
    let mut ours = replayed.iter().peekable();
    let mut after = None;
    loop {
        let page = snapshot.accounts(after, PAGE).await?;
        for rows in &page {
            while let Some((_, missing)) = ours.next_if(|(ours, _)| **ours < rows.id) {
                absent(missing, snapshot.unreadable(), report);
            }
            match ours.next_if(|(ours, _)| **ours == rows.id) {
                Some((_, log)) => account(log, rows, report),
                None => {
                    let held = format!("balance {}", rows.columns.balance);
                    let finding = Finding::of_account(rows.id, "the account", "nothing of it".into(), held);
                    report.differs(Section::Accounts, finding);
                }
            }
        }
        match page.last() {
            Some(last) => after = Some(last.id),
            None => break,
        }
    }
    ours.for_each(|(_, missing)| absent(missing, snapshot.unreadable(), report));
    for stray in snapshot.strays().await? {
        report.differs(Section::Strays, Finding::of(stray));
    }
    for place in snapshot.beyond().await? {
        let what = "a row that is not before its partition's position of record".to_owned();
        report.differs(Section::Strays, Finding::at_position(place.partition, place.offset, what));
    }
    report.compared(Section::Strays, 0);
    Ok(())
}

/// A row that can't be read is told as that.
fn absent(log: &StoredAccount, unreadable: &BTreeSet<Unreadable>, report: &mut Report) {
    if unreadable.iter().any(|row| row.table == "accounts" && row.account == Some(log.state.id)) {
        return;
    }
    let balance = log.state.balance().unwrap_or(Usd::ZERO);
    let finding =
        Finding::of_account(log.state.id, "the account", format!("balance {balance}"), "nothing of it".into());
    report.differs(Section::Accounts, finding);
}

fn account(log: &StoredAccount, rows: &AccountRows, report: &mut Report) {
    let (state, id) = (&log.state, log.state.id);
    report.compared(Section::Accounts, 1);
    report.compared(Section::Balances, 1);
    report.compared(Section::Lots, state.lots.len() as u64);
    report.compared(Section::Keys, state.keys.len() as u64);
    let (log_apart, database_apart) = (without_keys(log), without_keys(&rows.account));
    if let Some((ours, theirs)) = differing_line(&log_apart, &database_apart) {
        report.differs(Section::Accounts, Finding::of_account(id, "the account", ours, theirs));
    } else if state.keys != rows.account.state.keys {
        // What a key holds is not for a report.
        let count = |keys: &BTreeMap<KeyId, Key>| format!("{} keys, not the same", keys.len());
        let (ours, theirs) = (count(&state.keys), count(&rows.account.state.keys));
        report.differs(Section::Accounts, Finding::of_account(id, "the account's keys", ours, theirs));
    }
    let balance = state.balance();
    if balance != Some(rows.columns.balance) {
        let expected = balance.map_or("beyond exact money".into(), |balance| balance.to_string());
        let held = rows.columns.balance.to_string();
        report.differs(Section::Balances, Finding::of_account(id, "balance_usd", expected, held));
    }
    let columns = AccountColumns { balance: rows.columns.balance, ..columns(state) };
    if let Some((ours, theirs)) = differing_line(&columns, &rows.columns) {
        report.differs(Section::Accounts, Finding::of_account(id, "the account's columns", ours, theirs));
    }
    for (lot, ours, theirs) in differing(&lots(state), &rows.lots) {
        report.differs(Section::Lots, Finding::of_account(id, format!("lot {lot}"), ours, theirs));
    }
    let keys = keys(state);
    for (key, _, _) in differing(&keys, &rows.keys) {
        // What a key's row holds is not for a report.
        let on = |keys: &BTreeMap<_, _>| if keys.contains_key(&key) { "a key" } else { "no key" }.to_owned();
        report.differs(Section::Keys, Finding::of_account(id, format!("key {key}"), on(&keys), on(&rows.keys)));
    }
}

fn without_keys(account: &StoredAccount) -> StoredAccount {
    StoredAccount { state: AccountState { keys: BTreeMap::new(), ..account.state.clone() }, ..account.clone() }
}

fn columns(state: &AccountState) -> AccountColumns {
    AccountColumns {
        status: state.status().as_str().to_owned(),
        plan: state.plan.clone(),
        opened_at: state.opened_at,
        lots_opened: state.lots_opened,
        debt: state.debt,
        balance: Usd::ZERO,
        version: state.version,
        due_at: state.subscription.as_ref().map(|live| live.period.end),
    }
}

fn lots(state: &AccountState) -> BTreeMap<LotId, LotColumns> {
    let columns = |lot: &Lot| LotColumns {
        source: lot.source.as_str().to_owned(),
        amount: lot.amount,
        remaining: lot.remaining,
        priority: lot.priority.into(),
        sequence: lot.sequence,
        expires_at: lot.expires_at,
    };
    state.lots.iter().map(|lot| (lot.id, columns(lot))).collect()
}

fn keys(state: &AccountState) -> BTreeMap<KeyId, KeyColumns> {
    let columns = |key: &Key| KeyColumns { hash: key.hash.0.to_vec(), name: key.name.clone(), hint: key.hint.clone() };
    state.keys.iter().map(|(id, key)| (*id, columns(key))).collect()
}

/// Entries that are on one side only, or differ, as texts.
fn differing<K: Ord + Copy, V: PartialEq + Debug>(
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
) -> Vec<(K, String, String)> {
    let mut keys: Vec<K> = ours.keys().chain(theirs.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let text = |value: Option<&V>| value.map_or("nothing of it".into(), |value| format!("{value:?}"));
    let differs = keys.into_iter().filter(|key| ours.get(key) != theirs.get(key));
    differs.map(|key| (key, text(ours.get(&key)), text(theirs.get(&key)))).collect()
}

/// The first lines of two values' texts that differ. Of whatever they are made of, nothing can be forgotten.
fn differing_line<T: PartialEq + Debug>(log: &T, database: &T) -> Option<(String, String)> {
    if log == database {
        return None;
    }
    let (log, database) = (format!("{log:#?}"), format!("{database:#?}"));
    let line = log.lines().zip(database.lines()).find(|(ours, theirs)| ours != theirs);
    let trimmed = |line: &str| line.trim().trim_end_matches(',').to_owned();
    Some(line.map_or_else(Default::default, |(ours, theirs)| (trimmed(ours), trimmed(theirs))))
}
