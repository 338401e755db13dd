//! Invoices, side by side with those that the replay numbers.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Offset, PartitionId, Position};

use super::report::{Finding, Report, Section};
use super::rows::is_among;
use crate::store::snapshot::Unreadable;
use crate::store::{Commit, InvoiceRow};

/// Compares the invoices of a part of a partition. The event is the operator's, but the account that is named is the one
/// that was invoiced.
pub(super) fn compare(
    partition: PartitionId,
    expected: &Commit,
    stored: &[InvoiceRow],
    unreadable: &BTreeSet<Unreadable>,
    report: &mut Report,
) {
    let mut pairs: BTreeMap<Offset, (Option<&InvoiceRow>, Vec<&InvoiceRow>)> = BTreeMap::new();
    for row in &expected.invoices {
        pairs.entry(row.position.offset).or_default().0 = Some(row);
    }
    for row in stored {
        pairs.entry(row.position.offset).or_default().1.push(row);
    }
    for (offset, (log, database)) in pairs {
        report.compared(Section::Invoices, 1);
        if let (Some(log), [row]) = (log, &database[..])
            && log == *row
        {
            continue;
        }
        if database.is_empty() && is_among(unreadable, "invoices", partition, offset) {
            continue;
        }
        let either = log.or(database.first().copied());
        let text = |rows: &[&InvoiceRow]| match rows {
            [] => "nothing of it".to_owned(),
            rows => rows.iter().map(|row| describe(row)).collect::<Vec<_>>().join("; "),
        };
        let finding = Finding {
            position: Some(Position { partition, offset }),
            event: either.map(|row| row.event_id),
            account: either.map(|row| row.invoice.event.account_id),
            what: "the invoice".into(),
            log: text(log.as_slice()),
            database: text(&database),
        };
        report.differs(Section::Invoices, finding);
    }
}

fn describe(row: &InvoiceRow) -> String {
    let event = &row.invoice.event;
    let after = event.after.map_or_else(|| "the start".to_owned(), |after| after.to_string());
    format!(
        "number {} of {} for account {}, after {after} through {}:{}, issued at {} by {}",
        row.invoice.number, event.month, event.account_id, event.partition, event.through, row.issued_at, row.event_id
    )
}
