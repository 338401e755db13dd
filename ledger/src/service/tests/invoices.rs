//! Invoices: what is due, in which month, under which number; statements between two times.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventlog::{EventLog as _, Record};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use schemas::api::{
    Invoice, InvoiceHead, InvoiceQuery, InvoicesQuery, IssueInvoices, IssuedInvoices, Refusal, Statement,
    StatementQuery,
};
use schemas::event::{AccountOpenedV1, CreditGrantedV1, CreditSource, InvoiceIssuedV1};
use schemas::{AccountId, Event, EventData, EventId, LotId, Month, Offset, Position, Timestamp};
use uuid::Uuid;

use super::{LedgerError, done, refusal, usd};
use crate::rig::Rig;
use crate::service::{Ledger, Parts};

fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(0xacc << 64 | n))
}

fn time(text: &str) -> Timestamp {
    let whole = if text.len() == 10 { format!("{text}T12:00:00Z") } else { text.to_owned() };
    whole.parse().unwrap()
}

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

/// Appends an event that happened then, under an id of its own.
async fn put(rig: &Rig, subject: AccountId, at: &str, data: EventData) -> Position {
    let id = EventId(Uuid::new_v5(&subject.0, format!("{at}{data:?}").as_bytes()));
    let event = Event { id, source: "/test".into(), subject, time: time(at), data };
    rig.log.append(Record { key: subject, payload: event.encode().unwrap().into() }).await.unwrap()
}

async fn open(rig: &Rig, n: u128, at: &str) -> Position {
    let plan = rig.ledger.parts.catalogue.plans["paid"].clone();
    put(rig, account(n), at, EventData::AccountOpened(AccountOpenedV1 { plan })).await
}

/// A dollar; each time of day has one.
async fn grant(rig: &Rig, n: u128, at: &str) -> Position {
    let lot_id = LotId(Uuid::new_v5(&account(n).0, at.as_bytes()));
    let (source, amount_usd, reason) = (CreditSource::Promotion, usd("1"), "r".to_owned());
    let granted = CreditGrantedV1 { lot_id, source, amount_usd, priority: 1, reason };
    put(rig, account(n), at, EventData::CreditGranted(granted)).await
}

async fn issue(ledger: &Ledger, through: &str) -> u64 {
    let IssuedInvoices { issued, next } =
        done(ledger.issue_invoices(IssueInvoices { through: month(through), after: None }).await);
    assert_eq!(next, None);
    issued
}

async fn heads(rig: &Rig) -> Vec<InvoiceHead> {
    done(rig.ledger.invoices(InvoicesQuery { account_id: None, after: None, limit: 1_000 }).await).invoices
}

async fn read(rig: &Rig, number: u64) -> Invoice {
    done(rig.ledger.invoice(InvoiceQuery { number, account_id: None }).await)
}

/// Number, account, month, opening and closing balance of every invoice.
async fn shown(rig: &Rig) -> Vec<String> {
    let mut shown = vec![];
    for head in heads(rig).await {
        let invoice = read(rig, head.number).await;
        assert_eq!(invoice.head, head);
        let account = head.account_id.0.as_u128() & 0xff;
        shown.push(format!("{account} {} {} {}", head.month, invoice.opening_usd, invoice.closing_usd));
    }
    shown
}

#[tokio::test]
async fn every_entry_is_on_the_invoice_of_its_month_or_the_next_open_one() {
    let rig = Rig::new().await;
    open(&rig, 1, "2026-08-03").await;
    open(&rig, 2, "2026-08-03").await;
    for at in ["2026-08-04", "2026-08-31T23:59:59.999999Z", "2026-09-01T00:00:00Z", "2026-08-30", "2026-10-01"] {
        grant(&rig, 1, at).await;
    }
    assert_eq!(issue(&rig.ledger, "2026-07").await, 0);
    assert_eq!(issue(&rig.ledger, "2026-09").await, 2);
    assert_eq!(shown(&rig).await, ["1 2026-08 0 2", "1 2026-09 2 4"]);
    assert_eq!(issue(&rig.ledger, "2026-09").await, 0, "nothing is due twice");

    // September is invoiced already, so what comes late is October's; November has nothing.
    grant(&rig, 1, "2026-09-30").await;
    grant(&rig, 1, "2026-12-24").await;
    assert_eq!(issue(&rig.ledger, "2026-12").await, 2);
    assert_eq!(shown(&rig).await[2..], ["1 2026-10 4 6", "1 2026-12 6 7"]);
    let whole = done(rig.ledger.statement(statement(1, None, None)).await);
    let mut lines = 0;
    for number in 1..=4 {
        lines += read(&rig, number).await.lines.len();
    }
    assert_eq!(lines, whole.entries.len());

    let ends: Vec<_> = heads(&rig).await.iter().map(|head| (head.after, head.through.offset)).collect();
    assert!(ends.windows(2).all(|two| two[1].0 == Some(two[0].1)), "{ends:?}");
    let (types, _) = rig.logged().await;
    let count = |name| types.iter().filter(|of| **of == name).count();
    assert_eq!((count("invoice.issued"), count("account.opened")), (4, 3), "the operator's account is opened once");
}

#[tokio::test]
async fn a_month_that_is_not_over_is_refused() {
    let rig = Rig::new().await;
    let command = |through| IssueInvoices { through: month(through), after: None };
    let refused = refusal(rig.ledger.issue_invoices(command("2027-01")).await).to_string();
    assert_eq!(refused, "month: 2027-01 is not over yet; the last month that can be invoiced is the one before");
    assert_eq!(done(rig.ledger.issue_invoices(command("2026-12")).await).issued, 0);
    assert!(rig.logged().await.0.is_empty(), "nothing due, nothing written");
}

#[tokio::test]
async fn an_invoice_is_its_account_s() {
    let rig = Rig::new().await;
    for n in [1, 2] {
        open(&rig, n, "2026-08-03").await;
        grant(&rig, n, "2026-08-04").await;
    }
    assert_eq!(issue(&rig.ledger, "2026-08").await, 2);
    let mine = heads(&rig).await.into_iter().find(|head| head.account_id == account(1)).unwrap();
    let asked =
        async |number, by: Option<u128>| rig.ledger.invoice(InvoiceQuery { number, account_id: by.map(account) }).await;
    assert_eq!(done(asked(mine.number, Some(1)).await).head, mine);
    let unknown = |number| Refusal::UnknownInvoice { number };
    assert_eq!(refusal(asked(mine.number, Some(2)).await), unknown(mine.number));
    assert_eq!(refusal(asked(3, None).await), unknown(3));
    assert_eq!(refusal(asked(u64::MAX, None).await), unknown(u64::MAX));
    let listed = async |by: Option<u128>, after, limit| {
        let page = done(rig.ledger.invoices(InvoicesQuery { account_id: by.map(account), after, limit }).await);
        (page.invoices.iter().map(|head| head.number).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(listed(Some(1), None, 9).await, (vec![mine.number], None));
    assert_eq!(listed(Some(3), None, 9).await, (vec![], None));
    assert_eq!(listed(None, None, 1).await, (vec![1], Some(1)));
    assert_eq!(listed(None, Some(1), 1).await, (vec![2], None));
    assert_eq!(listed(None, None, 2).await, (vec![1, 2], None));
}

/// Whatever arrives in whatever order, and whenever invoices are issued in between: every entry is on one invoice at most,
/// those that are on none are the last ones, and together they are the statement, to the last digit.
#[tokio::test]
async fn any_history_is_invoiced_once_and_whole() {
    let rig = Rig::new().await;
    let mut runner = TestRunner::deterministic();
    for n in 1..=8 {
        let step = prop_oneof![4 => (1..=4_u8, 1..=28_u8).prop_map(|(month, day)| (month, Some(day))), 1 => (1..=4_u8).prop_map(|month| (month, None))];
        let steps = prop::collection::vec(step, 5..25).new_tree(&mut runner).unwrap().current();
        open(&rig, n, "2025-12-31").await;
        for (second, (month, day)) in steps.iter().enumerate() {
            match day {
                Some(day) => {
                    grant(&rig, n, &format!("2026-{month:02}-{day:02}T00:00:{second:02}Z")).await;
                }
                None => {
                    issue(&rig.ledger, &format!("2026-{month:02}")).await;
                }
            }
        }
        done(rig.ledger.catch_up().await);
        let whole = done(rig.ledger.statement(statement(n, None, None)).await);
        let query = InvoicesQuery { account_id: Some(account(n)), after: None, limit: 99 };
        let (mut rest, mut after, mut month, mut balance) = (&whole.entries[..], None, None, usd("0"));
        for head in done(rig.ledger.invoices(query).await).invoices {
            let invoice = read(&rig, head.number).await;
            let (mine, others) = rest.split_at(invoice.lines.len());
            assert_eq!(
                (head.after, Some(head.through.offset)),
                (after, mine.last().map(|entry| entry.offset)),
                "{steps:?}"
            );
            assert!(mine.iter().all(|entry| entry.time < head.month.end()), "{steps:?}: {invoice:?}");
            assert!(month < Some(head.month), "{steps:?}: {invoice:?}");
            let lines = invoice.lines.iter().try_fold(balance, |sum, line| sum.checked_add(line.amount_usd));
            assert_eq!((invoice.opening_usd, Some(invoice.closing_usd)), (balance, lines), "{steps:?}");
            (rest, after, month, balance) = (others, Some(head.through.offset), Some(head.month), invoice.closing_usd);
        }
        let total = rest.iter().try_fold(balance, |sum, entry| sum.checked_add(entry.amount_usd));
        assert_eq!(total, Some(whole.closing_usd), "{steps:?}");
    }
}

/// A second process, as it were.
fn another(rig: &Rig) -> Ledger {
    let Parts { catalogue, pepper, outside, apply_timeout, .. } = &rig.ledger.parts;
    Ledger::new(Parts {
        store: Arc::clone(&rig.store),
        log: Arc::clone(&rig.log) as Arc<dyn eventlog::EventLog>,
        feed: Arc::clone(&rig.feed),
        catalogue: catalogue.clone(),
        pepper: pepper.clone(),
        outside: Arc::clone(outside),
        apply_timeout: *apply_timeout,
        lease_ttl: crate::LEASE_TTL,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuers_at_once_leave_no_gap_and_no_overlap() {
    const ACCOUNTS: u128 = 30;
    let rig = Rig::new().await;
    for n in 0..ACCOUNTS {
        open(&rig, n, "2026-08-01").await;
        for at in ["2026-08-02", "2026-09-02", "2026-10-02"] {
            grant(&rig, n, at).await;
        }
    }
    let others: Vec<_> = (0..3).map(|_| another(&rig)).collect();
    tokio::join!(
        issue(&rig.ledger, "2026-09"),
        issue(&others[0], "2026-10"),
        issue(&others[1], "2026-08"),
        issue(&others[2], "2026-10")
    );
    let heads = heads(&rig).await;
    assert_eq!(heads.iter().map(|head| head.number).collect::<Vec<_>>(), (1..=90).collect::<Vec<u64>>());
    let mut last: BTreeMap<AccountId, (Month, Offset)> = BTreeMap::new();
    for head in heads {
        let before = last.insert(head.account_id, (head.month, head.through.offset));
        assert_eq!(before.map(|(_, end)| end), head.after);
        assert_eq!(before.map_or(month("2026-08"), |(month, _)| month.next()), head.month);
    }
    assert!(last.values().all(|(last, _)| *last == month("2026-10")));
}

/// After a rebuild, say: the operator's partition is folded, the account's is not.
#[tokio::test]
async fn an_invoice_of_postings_that_are_not_there_yet_is_not_shown() {
    let rig = Rig::new().await;
    open(&rig, 1, "2026-08-01").await;
    let granted = grant(&rig, 1, "2026-08-02").await;
    issue(&rig.ledger, "2026-07").await;
    let (account_id, partition) = (account(1), granted.partition);
    let later = Offset(granted.offset.0 + 5);
    let data = InvoiceIssuedV1 { account_id, month: month("2026-08"), partition, after: None, through: later };
    done(rig.ledger.open_operators_account().await);
    done(rig.ledger.post(data.event_id(), AccountId::OPERATOR, EventData::InvoiceIssued(data), "month").await);
    let Err(LedgerError::Unavailable(text)) =
        rig.ledger.invoice(InvoiceQuery { number: 1, account_id: None }).await.map(|invoice| invoice.head)
    else {
        panic!("shown")
    };
    assert_eq!(text, format!("invoice 1 covers {partition}:{later}, which is not applied yet; try again"));
}

fn statement(n: u128, from: Option<&str>, to: Option<&str>) -> StatementQuery {
    StatementQuery { account_id: account(n), after: None, from: from.map(time), to: to.map(time), limit: 1_000 }
}

#[tokio::test]
async fn a_statement_between_two_times_adds_up() {
    let rig = Rig::new().await;
    open(&rig, 1, "2026-08-01").await;
    let mut at = vec![];
    for day in ["2026-08-02", "2026-08-05", "2026-08-03", "2026-08-09"] {
        at.push(grant(&rig, 1, day).await.offset);
    }
    done(rig.ledger.catch_up().await);
    let check = async |from: Option<&str>, to: Option<&str>, range: std::ops::Range<usize>| {
        let whole = done(rig.ledger.statement(statement(1, from, to)).await);
        let offsets: Vec<_> = whole.entries.iter().map(|entry| entry.offset).collect();
        assert_eq!(offsets, at[range.clone()], "{from:?} to {to:?}");
        let balances = [range.start, range.end].map(|dollars| usd(&dollars.to_string()));
        assert_eq!([whole.opening_usd, whole.closing_usd], balances, "{from:?} to {to:?}");
        // The same, entry by entry.
        let (mut paged, mut next) = (vec![], None);
        loop {
            let query = StatementQuery { after: next, limit: 1, ..statement(1, from, to) };
            let page: Statement = done(rig.ledger.statement(query).await);
            paged.extend(page.entries);
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(paged, whole.entries, "{from:?} to {to:?}");
    };
    check(None, None, 0..4).await;
    check(Some("2026-08-01"), Some("2026-09-01"), 0..4).await;
    check(Some("2026-08-02T12:00:00.000001Z"), None, 1..4).await;
    // What arrived late stands where it arrived.
    check(Some("2026-08-05"), None, 1..4).await;
    check(None, Some("2026-08-05"), 0..1).await;
    check(None, Some("2026-08-04"), 0..1).await;
    check(Some("2026-08-04"), Some("2026-08-09"), 1..3).await;
    check(Some("2026-08-09"), None, 3..4).await;
    check(Some("2026-08-10"), None, 4..4).await;
    check(None, Some("2026-08-01"), 0..0).await;
    check(Some("2026-08-05"), Some("2026-08-03"), 1..1).await;
    check(Some("2026-08-05"), Some("2026-08-05"), 1..1).await;
}
