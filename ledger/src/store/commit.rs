//! What one batch writes, as data: the difference between the states before and after it, and a row for each record.

use std::collections::BTreeMap;

use accounting::{AccountState, ChainHash, Entry, FactTag, FoldedBatch, Key, Lot, Outcome, Posting, Reason, Transfer};
use bytes::Bytes;
use eventlog::Batch;
use schemas::api::{EntryDetail, Funds};
use schemas::{AccountId, Event, EventId, KeyId, LeaseId, LotId, Offset, PartitionId, Position, Timestamp, Usd};

use super::leases::charged_on_lease;
use super::{Draw, InvoiceRow, Repeat, StoredAccount};

/// The longest explanation kept with a quarantined record, in characters; a decoder may quote the record at length.
const MAX_DETAIL_CHARACTERS: usize = 1_000;

/// Everything that one transaction writes.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The partition.
    pub partition: PartitionId,
    /// Where the position of record has to be.
    pub from: Offset,
    /// The partition's chain up to there.
    pub from_chain: ChainHash,
    /// Where it moves to.
    pub next: Offset,
    /// The partition's chain up to there.
    pub chain: ChainHash,
    /// The last record, by itself: the chain of nothing but that record.
    pub last_record: ChainHash,
    /// Accounts that changed, once each, with their balance.
    pub accounts: Vec<(AccountState, Usd)>,
    /// Lots that are new or were drawn from.
    pub lots: Vec<(AccountId, Lot)>,
    /// Lots that are empty now.
    pub emptied_lots: Vec<(AccountId, LotId)>,
    /// Keys that are new or changed.
    pub keys: Vec<(AccountId, KeyId, Key)>,
    /// Keys that are live no more.
    pub dropped_keys: Vec<(AccountId, KeyId)>,
    /// Accounts whose subscription's open period has another end now, or that have none any more.
    pub renewals: Vec<(AccountId, Option<Timestamp>)>,
    /// Events that posted.
    pub postings: Vec<PostingRow>,
    /// The money they moved.
    pub transfers: Vec<TransferRow>,
    /// Records that can't post.
    pub quarantined: Vec<QuarantineRow>,
    /// Invoices that were issued.
    pub invoices: Vec<InvoiceRow>,
    /// What was charged on leases, a row a lease, in the order of their ids.
    pub draws: Vec<Draw>,
    /// Usage on leases whose event had posted already.
    pub repeats: Vec<Repeat>,
}

/// An event that posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingRow {
    /// The event.
    pub event_id: EventId,
    /// Whose.
    pub account_id: AccountId,
    /// The record's place.
    pub offset: Offset,
    /// The event's type.
    pub event_type: &'static str,
    /// When it happened.
    pub time: Timestamp,
    /// What the balance changed by.
    pub amount: Usd,
    /// The balance with it.
    pub balance: Usd,
    /// The statement's entry, where it concerns money.
    pub detail: Option<EntryDetail>,
    /// The tag of the partition's chain right after the record: an audit finds the first record that is not the one
    /// which was applied.
    pub chain_tag: i64,
    /// Which fact the event id stands for from now on.
    pub fact_tag: FactTag,
}

/// Money that an event moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRow {
    /// The event.
    pub event_id: EventId,
    /// Its record's place.
    pub offset: Offset,
    /// Which of its transfers, from zero.
    pub index: u32,
    /// The transfer.
    pub transfer: Transfer,
}

/// A record that can't post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRow {
    /// The record's place.
    pub offset: Offset,
    /// The event's id and account, where the record could be decoded.
    pub event: Option<(EventId, AccountId)>,
    /// The stable name of why.
    pub reason: &'static str,
    /// Why, in words that every store can keep.
    pub detail: String,
    /// The record, as the log holds it.
    pub record: Bytes,
}

impl Commit {
    /// What a batch led to; `from_chain` and `before` are the chain and the states that it was folded onto. `None` where a balance is beyond exact
    /// money, which the fold quarantines before it gets here.
    pub fn new(
        batch: &Batch,
        from_chain: ChainHash,
        before: &BTreeMap<AccountId, StoredAccount>,
        folded: FoldedBatch,
    ) -> Option<Self> {
        let last_record = batch.records.last();
        let last_record = last_record.map(|record| ChainHash::GENESIS.extend(record.offset, &record.payload));
        let mut commit = Self {
            partition: batch.partition,
            from: batch.from,
            from_chain,
            next: batch.next,
            chain: folded.chain,
            last_record: last_record.unwrap_or(ChainHash::GENESIS),
            accounts: Vec::with_capacity(folded.accounts.len()),
            lots: Vec::new(),
            emptied_lots: Vec::new(),
            keys: Vec::new(),
            dropped_keys: Vec::new(),
            renewals: Vec::new(),
            postings: Vec::with_capacity(folded.entries.len()),
            transfers: Vec::with_capacity(folded.entries.len()),
            quarantined: Vec::new(),
            invoices: Vec::new(),
            draws: Vec::new(),
            repeats: Vec::new(),
        };
        for (id, after) in folded.accounts {
            commit.account(id, before.get(&id).map(|stored| &stored.state), after)?;
        }
        for (entry, record) in folded.entries.into_iter().zip(&batch.records) {
            commit.entry(entry, &record.payload);
        }
        commit.draws = sum_of_draws(commit.draws);
        Some(commit)
    }

    /// Only what changed of an account's lots and keys is written: a batch of usage touches no key.
    fn account(&mut self, id: AccountId, before: Option<&AccountState>, after: AccountState) -> Option<()> {
        let old_lots = before.map_or(&[][..], |state| &state.lots);
        let old_lots: BTreeMap<LotId, &Lot> = old_lots.iter().map(|lot| (lot.id, lot)).collect();
        let new_lots: BTreeMap<LotId, &Lot> = after.lots.iter().map(|lot| (lot.id, lot)).collect();
        let changed = new_lots.iter().filter(|(lot_id, lot)| old_lots.get(lot_id) != Some(lot));
        self.lots.extend(changed.map(|(_, lot)| (id, (*lot).clone())));
        self.emptied_lots.extend(old_lots.keys().filter(|lot_id| !new_lots.contains_key(lot_id)).map(|lot| (id, *lot)));

        let no_keys = BTreeMap::new();
        let old_keys = before.map_or(&no_keys, |state| &state.keys);
        let changed = after.keys.iter().filter(|(key_id, key)| old_keys.get(key_id) != Some(key));
        self.keys.extend(changed.map(|(key_id, key)| (id, *key_id, key.clone())));
        self.dropped_keys
            .extend(old_keys.keys().filter(|key_id| !after.keys.contains_key(key_id)).map(|key| (id, *key)));

        let period_end = |state: &AccountState| state.subscription.as_ref().map(|live| live.period.end);
        let due = period_end(&after);
        if due != before.and_then(period_end) {
            self.renewals.push((id, due));
        }

        let balance = after.balance()?;
        self.accounts.push((after, balance));
        Some(())
    }

    fn entry(&mut self, entry: Entry, record: &Bytes) {
        match (entry.outcome, entry.event) {
            (Outcome::Applied(posting), Some(event)) => {
                self.posting(entry.offset, &event, posting, (entry.chain, entry.tag));
            }
            (Outcome::Quarantined(reason), event) => {
                let event = event.map(|event| (event.id, event.subject));
                self.quarantined.push(QuarantineRow::new(entry.offset, event, &reason, record.clone()));
            }
            (Outcome::Duplicate, Some(event)) => self.repeats.extend(Repeat::of(&event, record)),
            (Outcome::Duplicate | Outcome::Applied(_), _) => {}
        }
    }

    fn posting(&mut self, offset: Offset, event: &Event, posting: Posting, (chain, fact_tag): (ChainHash, FactTag)) {
        if let Some(invoice) = posting.invoice {
            let position = Position { partition: self.partition, offset };
            self.invoices.push(InvoiceRow { event_id: event.id, position, issued_at: event.time, invoice });
        }
        self.draws.extend(charged_on_lease(event));
        if let Some(usd) = accounting::lease::price(&event.data) {
            // All that was set aside for it, whatever came back of the period before.
            let usd = usd.min(Usd::from_pico(i64::MAX));
            let (lease_id, funds) = (LeaseId(event.id.0), Funds { usd, plan_tokens: u64::MAX });
            self.draws.push(Draw { lease_id, account_id: event.subject, funds });
        }
        let transfers = (0..).zip(posting.transfers);
        let row = |(index, transfer)| TransferRow { event_id: event.id, offset, index, transfer };
        self.transfers.extend(transfers.map(row));
        self.postings.push(PostingRow {
            event_id: event.id,
            account_id: event.subject,
            offset,
            event_type: event.data.event_type(),
            time: event.time,
            amount: posting.amount,
            balance: posting.balance,
            detail: posting.detail,
            chain_tag: chain.tag(),
            fact_tag,
        });
    }
}

/// One row a lease and account; all that a lease has where that is beyond exact money.
fn sum_of_draws(draws: Vec<Draw>) -> Vec<Draw> {
    let all = Funds { usd: Usd::from_pico(i64::MAX), plan_tokens: u64::MAX };
    let mut sums: BTreeMap<(LeaseId, AccountId), Funds> = BTreeMap::new();
    for draw in draws {
        let sum = sums.entry((draw.lease_id, draw.account_id)).or_default();
        *sum = sum.plus(draw.funds).unwrap_or(all);
    }
    sums.into_iter().map(|((lease_id, account_id), funds)| Draw { lease_id, account_id, funds }).collect()
}

impl QuarantineRow {
    fn new(offset: Offset, event: Option<(EventId, AccountId)>, reason: &Reason, record: Bytes) -> Self {
        // PostgreSQL keeps no U+0000 in a text, and what a decoder quotes of a record may hold one.
        let detail = reason.to_string().replace('\0', "\u{fffd}").chars().take(MAX_DETAIL_CHARACTERS).collect();
        Self { offset, event, reason: reason.code(), detail, record }
    }
}
