//! Accounts, side by side: in the order of their ids, a page of the database's at a time.

use std::collections::BTreeMap;
use std::fmt::Debug;

use accounting::AccountState;
use schemas::{AccountId, Usd};

use super::AuditError;
use super::report::{Finding, Report, Section};
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
        for (database, balance) in &page {
            let id = database.state.id;
            while let Some((_, missing)) = ours.next_if(|(ours, _)| **ours < id) {
                absent(missing, report);
            }
            match ours.next_if(|(ours, _)| **ours == id) {
                Some((_, log)) => account(log, database, *balance, report),
                None => {
                    let what = "the account";
                    let finding = Finding::of_account(id, what, "nothing of it".into(), format!("balance {balance}"));
                    report.differs(Section::Accounts, finding);
                }
            }
        }
        match page.last() {
            Some((last, _)) => after = Some(last.state.id),
            None => break,
        }
    }
    ours.for_each(|(_, missing)| absent(missing, report));
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

fn absent(log: &StoredAccount, report: &mut Report) {
    let balance = log.state.balance().unwrap_or(Usd::ZERO);
    let finding =
        Finding::of_account(log.state.id, "the account", format!("balance {balance}"), "nothing of it".into());
    report.differs(Section::Accounts, finding);
}

fn account(log: &StoredAccount, database: &StoredAccount, balance: Usd, report: &mut Report) {
    let id = log.state.id;
    report.compared(Section::Accounts, 1);
    report.compared(Section::Balances, 1);
    report.compared(Section::Lots, log.state.lots.len() as u64);
    report.compared(Section::Keys, log.state.keys.len() as u64);
    if log.state.balance() != Some(balance) {
        let expected = log.state.balance().map_or("beyond exact money".into(), |balance| balance.to_string());
        report.differs(Section::Balances, Finding::of_account(id, "balance_usd", expected, balance.to_string()));
    }
    if log == database {
        return;
    }
    let lots = |state: &AccountState| state.lots.iter().map(|lot| (lot.id, lot.clone())).collect::<BTreeMap<_, _>>();
    for (lot, ours, theirs) in differing(&lots(&log.state), &lots(&database.state)) {
        report.differs(Section::Lots, Finding::of_account(id, format!("lot {lot}"), ours, theirs));
    }
    for (key, _, _) in differing(&log.state.keys, &database.state.keys) {
        // What a key's row holds is not for a report.
        let on = |state: &AccountState| if state.keys.contains_key(&key) { "a key" } else { "no key" }.to_owned();
        let finding = Finding::of_account(id, format!("key {key}"), on(&log.state), on(&database.state));
        report.differs(Section::Keys, finding);
    }
    if let Some((ours, theirs)) = rest(log, database) {
        report.differs(Section::Accounts, Finding::of_account(id, "the account", ours, theirs));
    }
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

/// The first lines by which all but lots and keys differ. Of whatever a state is made of, nothing can be forgotten.
fn rest(log: &StoredAccount, database: &StoredAccount) -> Option<(String, String)> {
    let bare = |stored: &StoredAccount| {
        let state = AccountState { lots: Vec::new(), keys: BTreeMap::new(), ..stored.state.clone() };
        StoredAccount { state, ..stored.clone() }
    };
    let (log, database) = (bare(log), bare(database));
    if log == database {
        return None;
    }
    let (log, database) = (format!("{log:#?}"), format!("{database:#?}"));
    let line = log.lines().zip(database.lines()).find(|(ours, theirs)| ours != theirs);
    let trimmed = |line: &str| line.trim().trim_end_matches(',').to_owned();
    Some(line.map_or_else(Default::default, |(ours, theirs)| (trimmed(ours), trimmed(theirs))))
}
