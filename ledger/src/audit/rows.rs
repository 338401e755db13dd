//! Rows of the database, side by side with those that the replay gives.

use std::collections::BTreeSet;
use std::fmt::Display;

use accounting::FactTag;
use schemas::{Offset, PartitionId, Position};

use super::report::{Finding, Report, Section};
use crate::store::Commit;
use crate::store::commit::{PostingRow, QuarantineRow, TransferRow};
use crate::store::snapshot::{StoredPosting, StoredQuarantine, StoredTransfer, Unreadable};

/// Where the chain's tags of a partition were the same so far.
pub(super) struct Tags {
    /// The offset after the last posting of the same tag; none once they have parted, or where they are not compared.
    same_before: Option<Offset>,
}

impl Tags {
    pub(super) fn new(compared: bool) -> Self {
        Self { same_before: compared.then_some(Offset(0)) }
    }
}

/// Two sequences in the order of their offsets, as pairs.
fn pairs<'a, A, B>(
    ours: &'a [A],
    theirs: &'a [B],
    our: impl Fn(&A) -> Offset,
    their: impl Fn(&B) -> Offset,
) -> Vec<(Option<&'a A>, Option<&'a B>)> {
    let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
    let mut pairs = Vec::new();
    loop {
        let pair = match (ours.peek(), theirs.peek()) {
            (None, None) => return pairs,
            (Some(a), Some(b)) if our(a) == their(b) => (ours.next(), theirs.next()),
            (Some(a), Some(b)) if our(a) < their(b) => (ours.next(), None),
            (Some(_), None) => (ours.next(), None),
            (_, Some(_)) => (None, theirs.next()),
        };
        pairs.push(pair);
    }
}

pub(super) fn postings(
    partition: PartitionId,
    expected: &Commit,
    stored: &[StoredPosting],
    unreadable: &BTreeSet<Unreadable>,
    tags: &mut Tags,
    report: &mut Report,
) {
    let mut transfers = &expected.transfers[..];
    for (log, database) in pairs(&expected.postings, stored, |row| row.offset, |row| row.offset) {
        report.compared(Section::Postings, 1);
        let own = log.map_or(0, |log| transfers.iter().take_while(|row| row.event_id == log.event_id).count());
        let (own, others) = transfers.split_at(own);
        transfers = others;
        match (log, database) {
            (Some(log), Some(database)) => Pair { partition, log, database, report }.compare(own, tags),
            // Told as that.
            (Some(log), None) if is_among(unreadable, "postings", partition, log.offset) => {}
            (Some(log), None) => {
                let told = format!("{}, amount {}", log.event_type, log.amount);
                let finding = finding(partition, log, "the posting", told, "nothing of it");
                report.differs(Section::Postings, finding);
            }
            (None, Some(row)) => {
                let told = format!("{}, amount {}", row.event_type, row.amount);
                let finding = Finding {
                    position: Some(Position { partition, offset: row.offset }),
                    event: Some(row.event_id),
                    account: Some(row.account_id),
                    what: "the posting".into(),
                    log: "nothing of it".into(),
                    database: told,
                };
                report.differs(Section::Postings, finding);
            }
            (None, None) => {}
        }
    }
}

pub(super) fn is_among(unreadable: &BTreeSet<Unreadable>, table: &str, partition: PartitionId, offset: Offset) -> bool {
    unreadable.iter().any(|row| row.table == table && row.position == Some(Position { partition, offset }))
}

fn finding(
    partition: PartitionId,
    row: &PostingRow,
    what: impl Into<String>,
    log: impl Display,
    database: impl Display,
) -> Finding {
    Finding {
        position: Some(Position { partition, offset: row.offset }),
        event: Some(row.event_id),
        account: Some(row.account_id),
        what: what.into(),
        log: log.to_string(),
        database: database.to_string(),
    }
}

/// A posting on both sides.
struct Pair<'a> {
    partition: PartitionId,
    log: &'a PostingRow,
    database: &'a StoredPosting,
    report: &'a mut Report,
}

impl Pair<'_> {
    fn compare(mut self, transfers: &[TransferRow], tags: &mut Tags) {
        let (log, database) = (self.log, self.database);
        if log.event_id != database.event_id {
            // Of two events, nothing else is worth comparing. The one that was applied here is the one that is missed.
            let what = "the event posted here";
            let finding = finding(self.partition, log, what, log.event_id, database.event_id);
            let (event, account) = (Some(database.event_id), Some(database.account_id));
            self.report.differs(Section::Postings, Finding { event, account, ..finding });
            tags.same_before = None;
            return;
        }
        if log.account_id != database.account_id {
            self.tell(Section::Postings, "account_id", log.account_id, database.account_id);
        }
        if log.event_type != database.event_type {
            self.tell(Section::Postings, "event_type", log.event_type, &database.event_type);
        }
        if log.time != database.time {
            self.tell(Section::Postings, "event_time", log.time, database.time);
        }
        if log.amount != database.amount {
            self.tell(Section::Postings, "amount_usd", log.amount, database.amount);
        }
        if log.balance != database.balance {
            self.tell(Section::Postings, "balance_usd", log.balance, database.balance);
        }
        if log.fact_tag != database.fact_tag {
            let hex = |tag: FactTag| format!("{:08x}", tag.0);
            self.tell(Section::Postings, "fact_tag", hex(log.fact_tag), hex(database.fact_tag));
        }
        if log.detail != database.detail {
            let text = |detail: &Option<_>| serde_json::to_string(detail).unwrap_or_default();
            self.tell(Section::Postings, "detail", text(&log.detail), text(&database.detail));
        }
        self.transfers(transfers);
        self.tag(tags);
    }

    fn tell(&mut self, section: Section, what: impl Into<String>, log: impl Display, database: impl Display) {
        let finding = finding(self.partition, self.log, what, log, database);
        self.report.differs(section, finding);
    }

    fn transfers(&mut self, log: &[TransferRow]) {
        let database = &self.database.transfers;
        self.report.compared(Section::Transfers, log.len().max(database.len()) as u64);
        for index in 0..log.len().max(database.len()) {
            let (log, database) = (log.get(index).map(transfer), database.get(index));
            if log.as_ref() != database {
                let text = |row: Option<&StoredTransfer>| row.map_or("nothing of it".into(), describe);
                self.tell(Section::Transfers, format!("transfer {index}"), text(log.as_ref()), text(database));
            }
        }
    }

    /// Tags part at one record and never meet again, so only the first is a finding. A row without one proves nothing of
    /// its record, and no build that reads this schema wrote it.
    fn tag(&mut self, tags: &mut Tags) {
        let hex = |tag: i64| format!("chain {tag:016x}…");
        let Some(tag) = self.database.chain_tag else {
            self.tell(Section::Positions, "chain_tag", hex(self.log.chain_tag), "nothing of it");
            return;
        };
        let Some(same_before) = tags.same_before else { return };
        if tag == self.log.chain_tag {
            tags.same_before = Some(self.log.offset.next());
            return;
        }
        let what = match same_before {
            first if first == self.log.offset => "the record".to_owned(),
            first => format!("a record from {}:{first} to this one", self.partition),
        };
        self.tell(Section::Positions, what, hex(self.log.chain_tag), hex(tag));
        tags.same_before = None;
    }
}

fn transfer(row: &TransferRow) -> StoredTransfer {
    let transfer = &row.transfer;
    StoredTransfer {
        index: row.index,
        debit: transfer.debit.to_string(),
        credit: transfer.credit.to_string(),
        commodity: transfer.amount.commodity().as_str().to_owned(),
        amount: transfer.amount.as_decimal(),
        code: transfer.code.as_str().to_owned(),
        lot: transfer.lot,
    }
}

fn describe(row: &StoredTransfer) -> String {
    let lot = row.lot.map_or(String::new(), |lot| format!(" lot {lot}"));
    format!("{} {} {} from {} to {} ({}{lot})", row.index, row.amount, row.commodity, row.credit, row.debit, row.code)
}

pub(super) fn quarantined(
    partition: PartitionId,
    expected: &Commit,
    stored: &[StoredQuarantine],
    unreadable: &BTreeSet<Unreadable>,
    report: &mut Report,
) {
    for (log, database) in pairs(&expected.quarantined, stored, |row| row.offset, |row| row.position.offset) {
        report.compared(Section::Quarantine, 1);
        let differs = match (log, database) {
            (Some(log), Some(database)) => differing(log, database),
            // Told as that.
            (Some(log), None) if is_among(unreadable, "quarantine", partition, log.offset) => None,
            (Some(log), None) => Some(("the row", log.reason.to_owned(), "nothing of it".to_owned())),
            (None, Some(database)) => Some(("the row", "nothing of it".to_owned(), database.reason.clone())),
            (None, None) => None,
        };
        let Some((what, from_log, from_database)) = differs else { continue };
        let event = log.and_then(|row| row.event);
        let offset = log.map(|row| row.offset).or(database.map(|row| row.position.offset)).unwrap_or_default();
        let finding = Finding {
            position: Some(Position { partition, offset }),
            event: event.map(|(event, _)| event).or(database.and_then(|row| row.event_id)),
            account: event.map(|(_, account)| account).or(database.and_then(|row| row.account_id)),
            what: format!("quarantine: {what}"),
            log: from_log,
            database: from_database,
        };
        report.differs(Section::Quarantine, finding);
    }
}

/// What differs. A record's bytes are not shown: they may be anything. The explanation beside the reason is not compared:
/// part of it is a decoder's own text, which another version of it may word differently.
fn differing(log: &QuarantineRow, database: &StoredQuarantine) -> Option<(&'static str, String, String)> {
    if log.record != database.record {
        let size = |record: &[u8]| format!("{} bytes", record.len());
        return Some(("the record", size(&log.record), size(&database.record)));
    }
    if log.reason != database.reason {
        return Some(("reason", log.reason.to_owned(), database.reason.clone()));
    }
    let ids = (log.event.map(|(event, _)| event), log.event.map(|(_, account)| account));
    let held = (database.event_id, database.account_id);
    (ids != held).then(|| ("event and account", format!("{ids:?}"), format!("{held:?}")))
}
