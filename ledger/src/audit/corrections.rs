//! The charge that a usage's first correction starts from, beside what was posted.
//!
//! The fold takes the first one's word for it: it can't look back at one of a billion requests (later ones have to start where
//! the one before ended). An audit can, in the database, whose postings it has compared with the replay's up to here.
//! Corrections are an operator's, and few, so that is a look-up each.

use std::collections::BTreeSet;

use schemas::api::{CorrectionEntry, EntryDetail};
use schemas::event::UsageCharge;
use schemas::{EventId, PartitionId, Position};

use super::report::{Finding, Report, Section};
use crate::store::commit::PostingRow;
use crate::store::{Commit, Snapshot, StoreError};

/// The usage of a partition that was corrected so far.
#[derive(Default)]
pub(super) struct Corrections {
    corrected: BTreeSet<EventId>,
}

impl Corrections {
    /// Compares the corrections of a part of the partition.
    pub(super) async fn compare(
        &mut self,
        partition: PartitionId,
        expected: &Commit,
        snapshot: &mut dyn Snapshot,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        for row in &expected.postings {
            let Some(EntryDetail::Correction(correction)) = &row.detail else { continue };
            if !self.corrected.insert(correction.usage_event_id) {
                continue;
            }
            let position = Position { partition, offset: row.offset };
            let posted = charged(snapshot, row, correction, position).await?;
            if posted != Some(correction.before) {
                report.differs(Section::Postings, finding(row, correction, position, posted));
            }
        }
        Ok(())
    }
}

/// What was charged for the usage, where the account had it before the correction.
async fn charged(
    snapshot: &mut dyn Snapshot,
    row: &PostingRow,
    correction: &CorrectionEntry,
    corrected_at: Position,
) -> Result<Option<UsageCharge>, StoreError> {
    let posted = snapshot.posted(correction.usage_event_id).await?;
    let posted = posted.filter(|posted| {
        let Position { partition, offset } = posted.position;
        posted.account == row.account_id && partition == corrected_at.partition && offset < corrected_at.offset
    });
    let of_the_model = posted.filter(
        |posted| matches!(&posted.detail, Some(EntryDetail::Usage { model, .. }) if *model == correction.model),
    );
    Ok(of_the_model.and_then(|posted| posted.usage_charge()))
}

fn finding(row: &PostingRow, correction: &CorrectionEntry, position: Position, posted: Option<UsageCharge>) -> Finding {
    let described = |charge: UsageCharge| {
        let UsageCharge { tokens, funding } = charge;
        format!(
            "{} + {} tokens ({} cached, {} of reasoning), {} of them of the plan, {} USD",
            tokens.prompt,
            tokens.completion,
            tokens.cached_prompt,
            tokens.reasoning,
            funding.plan_tokens,
            funding.credit_usd
        )
    };
    Finding {
        position: Some(position),
        event: Some(row.event_id),
        account: Some(row.account_id),
        what: format!("the charge that the first correction of usage {} starts from", correction.usage_event_id),
        log: described(correction.before),
        database: posted.map_or_else(|| "no such usage of this account and model before".to_owned(), described),
    }
}
