//! What an audit found.

use std::collections::BTreeMap;
use std::fmt;

use accounting::{NotAnAccount, StateHash};
use schemas::{AccountId, EventId, Offset, PartitionId, Position, Usd};
use serde::Serialize;

use crate::store::StoredAccount;

/// Findings that are told; all are counted.
const TOLD: usize = 100;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Records that the log has to give.
    Log,
    /// Positions of record, and chains.
    Positions,
    /// Events posted, with what they changed.
    Postings,
    /// The transfers of each.
    Transfers,
    /// Records that can't post.
    Quarantine,
    /// Invoices, with their numbers.
    Invoices,
    /// Accounts: status, plan, debt, all but lots and keys.
    Accounts,
    /// Balances kept beside accounts.
    Balances,
    /// Lots with something left.
    Lots,
    /// Live keys.
    Keys,
    /// Postings and transfers of each account, counted.
    Counts,
    /// All transfers by ledger account, side and commodity, summed up.
    LedgerAccounts,
    /// Debits against credits, by commodity (I2).
    DoubleEntry,
    /// Rows that belong to nothing.
    Strays,
    /// The usage store: totals of each account, from facts.
    UsageFacts,
    /// The same from the hourly rollups.
    UsageRollups,
    /// Whether the usage store was compared, and how far it is.
    UsageStore,
}

impl Section {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log records",
            Self::Positions => "positions and chains",
            Self::Postings => "postings",
            Self::Transfers => "transfers",
            Self::Quarantine => "quarantined records",
            Self::Invoices => "invoices",
            Self::Accounts => "accounts",
            Self::Balances => "balances",
            Self::Lots => "lots",
            Self::Keys => "keys",
            Self::Counts => "counts per account",
            Self::LedgerAccounts => "sums per ledger account",
            Self::DoubleEntry => "debits = credits",
            Self::Strays => "rows of nothing",
            Self::UsageFacts => "usage totals, facts",
            Self::UsageRollups => "usage totals, rollups",
            Self::UsageStore => "usage store",
        }
    }
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The event's place in the log, where it is one event.
    pub position: Option<Position>,
    /// The event.
    pub event: Option<EventId>,
    /// Whose.
    pub account: Option<AccountId>,
    /// What differs: a column, mostly.
    pub what: String,
    /// As the log has it.
    pub log: String,
    /// As the database has it.
    pub database: String,
}

impl Finding {
    /// That something differs.
    pub fn of(what: String) -> Self {
        Self { position: None, event: None, account: None, what, log: String::new(), database: String::new() }
    }

    /// Of an account as a whole.
    pub fn of_account(account: AccountId, what: impl Into<String>, log: String, database: String) -> Self {
        Self { account: Some(account), log, database, ..Self::of(what.into()) }
    }

    /// At a place of the log.
    pub(super) fn at_position(partition: PartitionId, offset: Offset, what: String) -> Self {
        Self { position: Some(Position { partition, offset }), ..Self::of(what) }
    }

    /// Of a partition as a whole: it is no event, so it never is the first one.
    pub(super) fn in_partition(self, partition: PartitionId, next: Offset) -> Self {
        Self { what: format!("{} of partition {partition}, at {next}", self.what), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "{position}: ")?;
        }
        if let Some(event) = self.event {
            write!(f, "event {event}, ")?;
        }
        if let Some(account) = self.account {
            write!(f, "account {account}, ")?;
        }
        f.write_str(&self.what)?;
        if !(self.log.is_empty() && self.database.is_empty()) {
            write!(f, ": {} by the log, {} in the database", self.log, self.database)?;
        }
        Ok(())
    }
}

/// How many were compared, and how many differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Compared.
    pub compared: u64,
    /// Of those, and of what is on one side only.
    pub differences: u64,
}

/// An account as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountThen {
    /// The account.
    pub account_id: AccountId,
    /// Its balance.
    pub balance_usd: Usd,
    /// What no lot covered.
    pub debt_usd: Usd,
    /// Plan tokens left.
    pub plan_tokens: u64,
    /// Lots with something left.
    pub lots: usize,
    /// The last record applied to it.
    pub version: Position,
}

impl AccountThen {
    pub(super) fn of(stored: StoredAccount) -> Option<Self> {
        let StoredAccount { partition, state } = stored;
        Some(Self {
            account_id: state.id,
            balance_usd: state.balance()?,
            debt_usd: state.debt,
            plan_tokens: state.plan_tokens(),
            lots: state.lots.len(),
            version: Position { partition, offset: state.version },
        })
    }
}

/// What was replayed of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Records.
    pub records: u64,
    /// The ledger's position of record: the first offset that it has not applied.
    pub applied: Offset,
    /// Where the log ended.
    pub end: Offset,
    /// Records of the log that the database has not applied yet; no difference, only younger.
    pub waiting: u64,
    /// The usage store, where it was compared.
    pub usage: Option<UsageLag>,
}

/// How far the usage store is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct UsageLag {
    /// The first offset that it does not hold yet. Where its position is that of its last fact, records that are no usage
    /// do not move it.
    pub position: Offset,
    /// Usage events that the ledger has applied and it has not.
    pub waiting: u64,
}

/// What an audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What was compared.
    pub sections: BTreeMap<Section, Tally>,
    /// The first event of the log at which it and the database differ.
    pub first: Option<Finding>,
    /// The first differences of each section, as they were found.
    pub findings: Vec<(Section, Finding)>,
    /// What was replayed, by partition.
    pub partitions: BTreeMap<PartitionId, Replayed>,
    /// SHA-256 over every account's state after the replay: the same log gives the same, whoever replays it.
    pub state_hash: String,
    /// Accounts as they were at the moment that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountThen>,
    #[serde(skip)]
    cut_short: bool,
}

impl Report {
    /// Some were compared.
    pub fn compared(&mut self, section: Section, count: u64) {
        self.sections.entry(section).or_default().compared += count;
    }

    /// One differs.
    pub fn differs(&mut self, section: Section, finding: Finding) {
        let tally = self.sections.entry(section).or_default();
        tally.differences += 1;
        let earlier = |first: &Finding| finding.position < first.position;
        if finding.position.is_some() && self.first.as_ref().is_none_or(earlier) {
            self.first = Some(finding.clone());
        }
        if tally.differences <= TOLD as u64 {
            self.findings.push((section, finding));
        }
    }

    /// All differences.
    pub fn differences(&self) -> u64 {
        self.sections.values().map(|tally| tally.differences).sum()
    }

    /// Records replayed.
    pub fn records(&self) -> u64 {
        self.partitions.values().map(|partition| partition.records).sum()
    }

    pub(super) fn replayed(&mut self, partition: PartitionId, replayed: Replayed) {
        self.partitions.insert(partition, replayed);
    }

    /// How far the usage store is in a partition that was replayed.
    pub fn usage(&mut self, partition: PartitionId, lag: UsageLag) {
        if let Some(replayed) = self.partitions.get_mut(&partition) {
            replayed.usage = Some(lag);
        }
    }

    /// A partition could not be read to its end, so what accounts came to is not known.
    pub(super) fn cut_short(&mut self) {
        self.cut_short = true;
    }

    /// Whether the log could be read whole.
    pub fn is_whole(&self) -> bool {
        !self.cut_short
    }

    pub(super) fn hash(&mut self, states: &BTreeMap<AccountId, StoredAccount>) -> Result<(), NotAnAccount> {
        let states = states.values().map(|account| &account.state);
        self.state_hash = StateHash::of(states)?.to_string();
        Ok(())
    }
}
