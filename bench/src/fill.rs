//! Filling a log.

use std::time::Duration;

use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, Record};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use schemas::AccountId;

use crate::events::{Events, Made};

/// Appends under way at a time.
const CONCURRENT: usize = 8_192;

/// How far back a repeat may reach, in events.
const REACH: usize = 100_000;

/// A log in a topic of its own.
pub(crate) async fn log(brokers: &str, topic: String, partitions: u32) -> anyhow::Result<KafkaLog> {
    let config = KafkaConfig {
        brokers: brokers.to_owned(),
        topic,
        partitions,
        replication: 1,
        client_id: "bench".to_owned(),
        session_timeout: Duration::from_secs(10),
    };
    Ok(KafkaLog::connect(config).await?)
}

/// Appends these records: in order, where they are of one account.
pub(crate) async fn append(log: &KafkaLog, records: impl Iterator<Item = anyhow::Result<Made>>) -> anyhow::Result<u64> {
    let appends = records.map(|made| async {
        let made = made?;
        log.append(Record { key: made.account, payload: made.payload.into() }).await?;
        anyhow::Ok(1)
    });
    stream::iter(appends).buffered(CONCURRENT).try_fold(0, |sum, one| async move { Ok(sum + one) }).await
}

/// Usage of accounts in random order, each its own or, as often as `repeats_percent` says, one of the last again.
pub(crate) struct Usage<'a> {
    pub(crate) events: &'a mut Events,
    pub(crate) accounts: &'a [AccountId],
    pub(crate) repeats_percent: u64,
    pub(crate) left: u64,
    pub(crate) recent: Vec<Made>,
    /// How many were no repeats, and what they cost, in 10⁻¹² USD.
    pub(crate) distinct: u64,
    pub(crate) cost_pico: i64,
}

impl<'a> Usage<'a> {
    pub(crate) fn new(events: &'a mut Events, accounts: &'a [AccountId], repeats_percent: u64, count: u64) -> Self {
        Self { events, accounts, repeats_percent, left: count, recent: Vec::new(), distinct: 0, cost_pico: 0 }
    }
}

impl Iterator for Usage<'_> {
    type Item = anyhow::Result<Made>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if self.repeats_percent > 0 && !self.recent.is_empty() && self.events.below(100) < self.repeats_percent {
            let at = self.events.below(self.recent.len() as u64);
            return usize::try_from(at).ok().and_then(|at| self.recent.get(at)).cloned().map(Ok);
        }
        let account = self.events.below(self.accounts.len() as u64);
        let account = *usize::try_from(account).ok().and_then(|at| self.accounts.get(at))?;
        let made = match self.events.usage(account) {
            Ok(made) => made,
            Err(error) => return Some(Err(error)),
        };
        if self.repeats_percent > 0 {
            let at = usize::try_from(self.distinct).unwrap_or(0) % REACH;
            match self.recent.get_mut(at) {
                Some(place) => *place = made.clone(),
                None => self.recent.push(made.clone()),
            }
        }
        self.distinct += 1;
        self.cost_pico += made.cost.to_pico().unwrap_or(0);
        Some(Ok(made))
    }
}
