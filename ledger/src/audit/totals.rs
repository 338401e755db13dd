//! Sums over everything: by ledger account, and by customer's account.

use std::collections::BTreeMap;

use accounting::{Commodity, LedgerAccount, Transfer};
use rust_decimal::Decimal;
use schemas::AccountId;

use super::AuditError;
use super::report::{Finding, Report, Section};
use crate::store::snapshot::{Counts, Side, Sum, SumKey};
use crate::store::{Commit, Snapshot};

/// By ledger account and commodity: what was debited, what was credited.
type Sums = BTreeMap<LedgerAccount, BTreeMap<Commodity, (Sum, Sum)>>;

/// Sums of what was replayed.
#[derive(Default)]
pub(super) struct Totals {
    sums: Sums,
    counts: BTreeMap<AccountId, Counts>,
}

impl Totals {
    pub(super) fn add(&mut self, rows: &Commit) {
        let mut transfers = rows.transfers.iter().peekable();
        for posting in &rows.postings {
            let counts = self.counts.entry(posting.account_id).or_default();
            counts.postings += 1;
            while let Some(row) = transfers.next_if(|row| row.event_id == posting.event_id) {
                counts.transfers += 1;
                let Transfer { debit, credit, amount, .. } = &row.transfer;
                add(&mut sum(&mut self.sums, debit, amount.commodity()).0, amount.as_decimal());
                add(&mut sum(&mut self.sums, credit, amount.commodity()).1, amount.as_decimal());
            }
        }
    }

    fn by_name(&self) -> BTreeMap<SumKey, Sum> {
        let mut sums = BTreeMap::new();
        for (account, commodities) in &self.sums {
            for (commodity, (debits, credits)) in commodities {
                for (side, sum) in [(Side::Debit, debits), (Side::Credit, credits)] {
                    if sum.transfers > 0 {
                        sums.insert((side, account.to_string(), commodity.as_str().to_owned()), *sum);
                    }
                }
            }
        }
        sums
    }

    pub(super) async fn compare(&self, snapshot: &mut dyn Snapshot, report: &mut Report) -> Result<(), AuditError> {
        let (ours, theirs) = (self.by_name(), snapshot.sums().await?);
        for key in union(&ours, &theirs) {
            report.compared(Section::LedgerAccounts, 1);
            let (log, database) = (ours.get(key).copied(), theirs.get(key).copied());
            if log != database {
                let (side, account, commodity) = key;
                let what =
                    format!("{} of {account} in {commodity}", if *side == Side::Debit { "debits" } else { "credits" });
                let finding = Finding { log: text(log), database: text(database), ..Finding::of(what) };
                report.differs(Section::LedgerAccounts, finding);
            }
        }
        double_entry(&theirs, report);
        let theirs = snapshot.counts().await?;
        for account in union(&self.counts, &theirs) {
            report.compared(Section::Counts, 1);
            let (log, database) = (self.counts.get(account).copied(), theirs.get(account).copied());
            if log != database {
                let text = |counts: Option<Counts>| {
                    counts.map_or("none".into(), |c| format!("{} postings, {} transfers", c.postings, c.transfers))
                };
                report.differs(Section::Counts, Finding::of_account(*account, "counts", text(log), text(database)));
            }
        }
        Ok(())
    }
}

fn sum<'a>(sums: &'a mut Sums, account: &LedgerAccount, commodity: Commodity) -> &'a mut (Sum, Sum) {
    sums.entry(account.clone()).or_default().entry(commodity).or_default()
}

/// I2, of what the database holds.
fn double_entry(sums: &BTreeMap<SumKey, Sum>, report: &mut Report) {
    let mut sides: BTreeMap<&str, (Decimal, Decimal)> = BTreeMap::new();
    for ((side, _, commodity), sum) in sums {
        let (debits, credits) = sides.entry(commodity).or_default();
        let side = if *side == Side::Debit { debits } else { credits };
        *side = side.saturating_add(sum.total);
    }
    for (commodity, (debits, credits)) in sides {
        report.compared(Section::DoubleEntry, 1);
        if debits != credits {
            let what = format!("all {commodity}: debits are {debits}, credits {credits}");
            report.differs(Section::DoubleEntry, Finding::of(what));
        }
    }
}

fn union<'a, K: Ord, V, W>(ours: &'a BTreeMap<K, V>, theirs: &'a BTreeMap<K, W>) -> Vec<&'a K> {
    let mut keys: Vec<&K> = ours.keys().chain(theirs.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn text(sum: Option<Sum>) -> String {
    sum.map_or("none".into(), |sum| format!("{} in {} transfers", sum.total.normalize(), sum.transfers))
}

/// No sum is beyond a decimal: ten billion of the largest amounts are not.
fn add(sum: &mut Sum, amount: Decimal) {
    sum.transfers += 1;
    sum.total = sum.total.saturating_add(amount);
}
