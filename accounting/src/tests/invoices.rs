//! Lines of invoices: by table, and against statements of random histories.

use proptest::prelude::*;
use schemas::api::{EntryDetail, InvoiceItem, StatementEntry};
use schemas::{AccountId, EventData, Usd};

use super::events::*;
use super::histories::Telling;
use super::memory::Memory;
use super::random::{ACCOUNTS, moment};
use super::saga::Saga;
use crate::{Entry, InvoiceLines, Outcome};

/// An entry as the ledger keeps it; none where the record is of another account, or moved no money.
fn statement_entry(entry: Entry, account: AccountId) -> Option<StatementEntry> {
    let (Some(event), Outcome::Applied(posting)) = (entry.event, entry.outcome) else { return None };
    let detail = posting.detail.filter(|_| event.subject == account)?;
    let (event_id, offset, time) = (event.id, entry.offset, event.time);
    Some(StatementEntry { event_id, offset, time, amount_usd: posting.amount, balance_usd: posting.balance, detail })
}

fn lines_of<'a>(entries: impl IntoIterator<Item = &'a StatementEntry>) -> InvoiceLines {
    let mut lines = InvoiceLines::default();
    entries.into_iter().for_each(|entry| lines.add(entry).unwrap());
    lines
}

/// What `history` is on an invoice: each line's amount and what it is for.
#[track_caller]
fn check(history: &[EventData], expected: &[(&str, &str)]) {
    let mut saga = Saga::of(&[]);
    let mut entries = vec![];
    for (data, offset) in history.iter().zip(0..) {
        let record = event(offset, micros(i64::from(offset)), data.clone()).encode().unwrap();
        entries.extend(saga.memory.take(0, &[record]).into_iter().filter_map(|e| statement_entry(e, account_id(1))));
    }
    let lines = lines_of(&entries);
    assert_eq!(Some(lines.total()), saga.state().balance());
    let shown = lines.into_lines().into_iter().map(|line| {
        let mut item = serde_json::to_value(&line).unwrap();
        let amount = item.as_object_mut().unwrap().remove("amount_usd").unwrap();
        (amount.as_str().unwrap().to_owned(), item.to_string())
    });
    let expected: Vec<_> = expected.iter().map(|(amount, item)| ((*amount).to_owned(), (*item).to_owned())).collect();
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[test]
fn lines_are_by_model_and_plan_and_then_as_things_happened() {
    check(&[open(), key(1)], &[]);
    let EventData::UsageRecorded(mut other) = usage(2) else { panic!("usage") };
    other.model = "a".into();
    check(
        &[open(), grant(1, usd("20"), 1), usage(2), EventData::UsageRecorded(other), usage(1), usage(0)],
        &[
            (
                "-2",
                r#"{"model":"a","plan_tokens":0,"requests":1,"tokens":{"cached_prompt":0,"completion":2,"prompt":0,"reasoning":0},"type":"usage"}"#,
            ),
            (
                "-3",
                r#"{"model":"m","plan_tokens":0,"requests":3,"tokens":{"cached_prompt":0,"completion":3,"prompt":0,"reasoning":0},"type":"usage"}"#,
            ),
            ("20", r#"{"reason":"r","time":"1970-01-01T00:00:00.000001Z","type":"credit"}"#),
        ],
    );
    // A change of plans is two lines: what came back for the old period, and the price of the new one.
    let (small, large) = (plan("small", "10", 1000, 600), plan("large", "20", 5000, 5000));
    let upgrade = switch(period(0, 1000), unused(usd("10"), 9), large, period(400, 1400), 8);
    check(
        &[
            open(),
            pay(1, 2, usd("30"), None),
            start(small, period(0, 1000), 7, Some(1)),
            usage_v2(cents_price(), tokens(7, 3, 4)),
            change_at_once(upgrade),
        ],
        &[
            (
                "0",
                r#"{"model":"m","plan_tokens":11,"requests":1,"tokens":{"cached_prompt":3,"completion":4,"prompt":7,"reasoning":0},"type":"usage"}"#,
            ),
            (
                "30",
                r#"{"payment_id":"00000000-0000-00ba-0000-000000000001","processor":"p","time":"1970-01-01T00:00:00.000001Z","type":"payment"}"#,
            ),
            (
                "-10",
                r#"{"granted_tokens":1000,"period":{"end":"1970-01-01T00:00:00.001000Z","start":"1970-01-01T00:00:00.000000Z"},"plan":"small","time":"1970-01-01T00:00:00.000002Z","type":"plan_period"}"#,
            ),
            (
                "6",
                r#"{"carried_tokens":389,"lapsed_tokens":600,"period":{"end":"1970-01-01T00:00:00.001000Z","start":"1970-01-01T00:00:00.000000Z"},"plan":"small","time":"1970-01-01T00:00:00.000004Z","type":"plan_closed"}"#,
            ),
            (
                "-20",
                r#"{"granted_tokens":5000,"period":{"end":"1970-01-01T00:00:00.001400Z","start":"1970-01-01T00:00:00.000400Z"},"plan":"large","time":"1970-01-01T00:00:00.000004Z","type":"plan_period"}"#,
            ),
        ],
    );
}

#[test]
fn a_sum_beyond_exact_money_is_none() {
    let mut saga = Saga::of(&[open()]);
    let entry = saga.memory.take(0, &[event(9, micros(1), grant(1, usd("9000000"), 1)).encode().unwrap()]).remove(0);
    let mut entry = statement_entry(entry, account_id(1)).unwrap();
    let huge = rust_decimal::Decimal::from(9_999_999_999_999_999_i64);
    entry.amount_usd = Usd::from_decimal(huge).unwrap();
    let mut lines = InvoiceLines::default();
    assert_eq!(lines.add(&entry), Some(()));
    assert_eq!(lines.add(&entry), None);
}

proptest! {
    /// Whatever happened and wherever a statement is cut into invoices: each one's opening balance and lines are its closing
    /// balance, the next one's opening balance is that, and together they say what the whole statement says.
    #[test]
    fn invoices_add_up_to_the_statement(
        history in prop::collection::vec(moment(), 100..200), cuts in prop::collection::btree_set(1..200_u64, 0..12),
    ) {
        for account in 0..ACCOUNTS {
            let mut memory = Memory::default();
            let records = Telling::records_of(&history).into_iter();
            let entries: Vec<StatementEntry> = records
                .flat_map(|(_, record)| memory.take(0, &[record]))
                .filter_map(|entry| statement_entry(entry, account_id(account)))
                .collect();
            let mut balance = Usd::ZERO;
            let mut sums = Sums::default();
            for invoiced in entries.chunk_by(|one, next| cuts.range(one.offset.0 + 1..=next.offset.0).next().is_none()) {
                let lines = lines_of(invoiced);
                let total = lines.total();
                let lines = lines.into_lines();
                balance = balance.checked_add(total).unwrap();
                prop_assert_eq!(balance, invoiced.last().unwrap().balance_usd);
                let shown = lines.iter().fold(Usd::ZERO, |sum, line| sum.checked_add(line.amount_usd).unwrap());
                prop_assert_eq!(shown, total, "{:?}", lines);
                lines.into_iter().for_each(|line| sums.invoiced(line.item, line.amount_usd));
            }
            let mut whole = Sums::default();
            entries.iter().for_each(|entry| whole.entry(entry));
            prop_assert_eq!(sums, whole);
        }
    }
}

/// What can be counted on both sides without knowing how lines are made.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    requests: u64,
    tokens: u64,
    plan_tokens: u64,
    usage: Usd,
    corrections: u64,
    corrected: Usd,
    paid: Usd,
    others: Usd,
    lapsed: u64,
    granted: u64,
}

impl Sums {
    fn entry(&mut self, entry: &StatementEntry) {
        let add = |sum: &mut Usd| *sum = sum.checked_add(entry.amount_usd).unwrap();
        match &entry.detail {
            EntryDetail::Usage { tokens, plan_tokens, .. } => {
                self.requests += 1;
                self.tokens += tokens.total();
                self.plan_tokens += plan_tokens;
                add(&mut self.usage);
            }
            EntryDetail::Correction(_) => {
                self.corrections += 1;
                add(&mut self.corrected);
            }
            EntryDetail::Payment { .. } => add(&mut self.paid),
            EntryDetail::Plan(plan) => {
                self.lapsed += plan.closed.as_ref().map_or(0, |closed| closed.lapsed_tokens);
                self.granted += plan.opened.as_ref().map_or(0, |opened| opened.granted_tokens);
                add(&mut self.others);
            }
            _ => add(&mut self.others),
        }
    }

    fn invoiced(&mut self, item: InvoiceItem, amount: Usd) {
        let add = |sum: &mut Usd| *sum = sum.checked_add(amount).unwrap();
        match item {
            InvoiceItem::Usage { requests, tokens, plan_tokens, .. } => {
                self.requests += requests;
                self.tokens += tokens.total();
                self.plan_tokens += plan_tokens;
                add(&mut self.usage);
            }
            InvoiceItem::UsageCorrected { corrections, .. } => {
                self.corrections += corrections;
                add(&mut self.corrected);
            }
            InvoiceItem::Payment { .. } => add(&mut self.paid),
            InvoiceItem::PlanClosed { lapsed_tokens, .. } => {
                self.lapsed += lapsed_tokens;
                add(&mut self.others);
            }
            InvoiceItem::PlanPeriod { granted_tokens, .. } => {
                self.granted += granted_tokens;
                add(&mut self.others);
            }
            _ => add(&mut self.others),
        }
    }
}
