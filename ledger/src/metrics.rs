//! What an operator sees of a ledger's fold, in Prometheus' terms.

use std::collections::BTreeMap;

use prometheus::{
    Error, IntCounter, IntCounterVec, Registry, register_int_counter_vec_with_registry,
    register_int_counter_with_registry,
};

use crate::store::Commit;

/// What became of the records that this process applied. What another ledger applies, that one counts.
pub struct Metrics {
    posted: IntCounterVec,
    repeats: IntCounter,
    quarantined: IntCounterVec,
}

impl Metrics {
    /// Metrics in this registry.
    ///
    /// # Errors
    /// It has them already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            posted: register_int_counter_vec_with_registry!(
                "modelhub_ledger_posted_total",
                "Events that this process posted, by their type.",
                &["type"],
                registry
            )?,
            repeats: register_int_counter_with_registry!(
                "modelhub_ledger_repeats_total",
                "Records that repeat an event which is posted already, and change nothing.",
                registry
            )?,
            quarantined: register_int_counter_vec_with_registry!(
                "modelhub_ledger_quarantined_total",
                "Records that can't post and are in quarantine, by why.",
                &["reason"],
                registry
            )?,
        })
    }

    /// A batch of so many records is committed.
    pub(crate) fn committed(&self, records: usize, commit: &Commit) {
        let mut posted: BTreeMap<&str, u64> = BTreeMap::new();
        for posting in &commit.postings {
            *posted.entry(posting.event_type).or_default() += 1;
        }
        for (event_type, count) in posted {
            self.posted.with_label_values(&[event_type]).inc_by(count);
        }
        for row in &commit.quarantined {
            self.quarantined.with_label_values(&[row.reason]).inc();
        }
        let ended = commit.postings.len() + commit.quarantined.len();
        self.repeats.inc_by(records.saturating_sub(ended) as u64);
    }
}
