//! A partition of the log, side by side with what the database has of it.

use std::sync::Arc;

use eventlog::EventLog;
use schemas::{AccountId, Offset, PartitionId, Position};

use super::corrections::Corrections;
use super::reader::{Decoded, Lost, Read};
use super::replay::Replay;
use super::report::{Finding, Report, Section};
use super::totals::Totals;
use super::{AuditError, Watch, invoices, reader, rows};
use crate::store::Snapshot;

/// One partition's replay, side by side with what the database has of it.
pub(super) struct Partition<'a> {
    pub(super) id: PartitionId,
    pub(super) snapshot: Option<&'a mut Box<dyn Snapshot>>,
    pub(super) report: &'a mut Report,
}

impl Partition<'_> {
    /// Whether the log could be read up to `to`.
    pub(super) async fn compare(
        &mut self,
        log: &Arc<dyn EventLog>,
        to: Offset,
        replay: &mut Replay,
        totals: &mut Totals,
        watch: &mut dyn Watch,
    ) -> Result<bool, AuditError> {
        let bounds = if self.snapshot.is_some() { reader::COMPARED } else { reader::REPLAYED };
        let mut batches = reader::ahead(Arc::clone(log), self.id, to, bounds);
        let mut tags = rows::Tags::new(!replay.is_cut());
        let mut corrections = Corrections::default();
        while let Some(read) = batches.recv().await {
            let Decoded { batch, fold, ids } = match read {
                Read::Batch(decoding) => decoding.await.map_err(std::io::Error::other)?,
                Read::Lost(lost) => {
                    self.lost(lost).await?;
                    return Ok(false);
                }
                Read::Away(error) => return Err(error.into()),
            };
            let folded = replay.fold(&batch, fold, &ids)?;
            for entry in &folded.entries {
                watch.entry(self.id, entry);
            }
            if let Some(snapshot) = self.snapshot.as_mut() {
                let (from, next) = (batch.from, batch.next);
                let expected = folded.rows(&batch)?;
                totals.add(&expected);
                let postings = snapshot.postings(self.id, from, next).await?;
                let quarantined = snapshot.quarantined(self.id, from, next).await?;
                let invoices = snapshot.invoices(self.id, from, next).await?;
                let invoices = replay.until(invoices, |row| row.position.offset, |_| Some(AccountId::OPERATOR));
                let postings = replay.until(postings, |row| row.offset, |row| Some(row.account_id));
                let quarantined = replay.until(quarantined, |row| row.position.offset, |row| row.account_id);
                let unreadable = snapshot.unreadable();
                rows::postings(self.id, &expected, &postings, unreadable, &mut tags, self.report);
                rows::quarantined(self.id, &expected, &quarantined, unreadable, self.report);
                invoices::compare(self.id, &expected, &invoices, unreadable, self.report);
                corrections.compare(self.id, &expected, &mut ***snapshot, self.report).await?;
            }
        }
        Ok(true)
    }

    async fn lost(&mut self, Lost { at, why }: Lost) -> Result<(), AuditError> {
        let mut finding = Finding { log: why, ..Finding::of("the record".to_owned()) };
        if let Some(snapshot) = self.snapshot.as_mut() {
            let posted = snapshot.postings(self.id, at, at.next()).await?;
            "nothing of it".clone_into(&mut finding.database);
            if let Some(row) = posted.first() {
                finding.database = format!("{}, amount {}", row.event_type, row.amount);
                (finding.event, finding.account) = (Some(row.event_id), Some(row.account_id));
            } else if let Some(row) = snapshot.quarantined(self.id, at, at.next()).await?.first() {
                finding.database = format!("a record in quarantine as {}", row.reason);
                (finding.event, finding.account) = (row.event_id, row.account_id);
            }
        }
        let position = Position { partition: self.id, offset: at };
        self.report.differs(Section::Log, Finding { position: Some(position), ..finding });
        Ok(())
    }
}
