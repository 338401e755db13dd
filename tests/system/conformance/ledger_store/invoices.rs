//! Invoices: rows are there with their postings; what is open and where it is cut agrees with a naive reader.

use std::collections::BTreeSet;

use ledger::store::Invoiced;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use schemas::api::InvoicesQuery;
use schemas::event::{CreditGrantedV1, CreditSource, InvoiceIssuedV1};
use schemas::{AccountId, Event, EventData, Month, Offset, PartitionId, Timestamp};
use uuid::Uuid;

use super::events::{event_id, key, lot_id, open, usd};
use super::stage::{PARTITIONS, Stage, account_in};

const HERE: PartitionId = PartitionId(5);

fn operators() -> PartitionId {
    eventlog::partition::of(AccountId::OPERATOR, PARTITIONS)
}

fn granted(account: AccountId, id: u128, micros: i64) -> Vec<u8> {
    let (source, reason) = (CreditSource::Promotion, "r".to_owned());
    let data = CreditGrantedV1 { lot_id: lot_id(id), source, amount_usd: usd("1"), priority: 1, reason };
    let (time, data) = (Timestamp::from_micros(micros), EventData::CreditGranted(data));
    Event { id: event_id(id), source: "/test".into(), subject: account, time, data }.encode().unwrap()
}

fn issued(account_id: AccountId, month: &str, after: Option<u64>, through: u64) -> (InvoiceIssuedV1, Vec<u8>) {
    let (month, after, through) = (month.parse().unwrap(), after.map(Offset), Offset(through));
    let data = InvoiceIssuedV1 { account_id, month, partition: HERE, after, through };
    let (subject, time) = (AccountId::OPERATOR, Timestamp::from_micros(7));
    let event =
        Event { id: data.event_id(), source: "/test".into(), subject, time, data: EventData::InvoiceIssued(data) };
    (data, event.encode().unwrap())
}

pub(super) async fn an_invoice_is_there_with_its_number(stage: Stage) {
    let accounts = [account_in(HERE, 0), account_in(HERE, 1)];
    let invoices = [
        issued(accounts[0], "1969-11", None, 4),
        issued(accounts[1], "1969-12", None, 5),
        issued(accounts[0], "1969-12", Some(4), u64::from(u32::MAX)),
    ];
    let operators = operators();
    stage.apply(operators, &[open(AccountId::OPERATOR, 1), invoices[0].1.clone()]).await;
    // A repeat, an invoice about nothing, and two that are fine.
    let (_, empty) = issued(accounts[1], "1969-12", Some(9), 9);
    stage
        .apply(
            operators,
            &[invoices[0].1.clone(), invoices[1].1.clone(), empty, invoices[2].1.clone(), b"garbage".to_vec()],
        )
        .await;
    let rows = stage.store.invoices(&InvoicesQuery { account_id: None, after: None, limit: 9 }).await.unwrap();
    let found: Vec<_> = rows.iter().map(|row| (row.invoice.number, row.position.offset.0, row.invoice.event)).collect();
    assert_eq!(found, [(1, 1, invoices[0].0), (2, 3, invoices[1].0), (3, 5, invoices[2].0)]);
    for row in &rows {
        assert_eq!((row.event_id, row.issued_at), (row.invoice.event.event_id(), Timestamp::from_micros(7)));
        assert_eq!(row.position.partition, operators);
        assert_eq!(stage.store.invoice(row.invoice.number).await.unwrap().as_ref(), Some(row));
    }
    for none in [0, 4, u64::MAX] {
        assert_eq!(stage.store.invoice(none).await.unwrap(), None);
    }
    let numbers = async |account_id, after, limit| {
        let rows = stage.store.invoices(&InvoicesQuery { account_id, after, limit }).await.unwrap();
        rows.iter().map(|row| row.invoice.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, Some(1), 1).await, [2]);
    assert_eq!(numbers(Some(accounts[0]), None, 9).await, [1, 3]);
    assert_eq!(numbers(Some(accounts[0]), Some(1), 9).await, [3]);
    assert_eq!(numbers(Some(AccountId::OPERATOR), None, 9).await, [0_u64; 0]);

    // Of a snapshot, those of the records that are asked for.
    let mut snapshot = stage.store.snapshot().await.unwrap();
    assert_eq!(snapshot.invoices(operators, Offset(0), Offset(9)).await.unwrap(), rows);
    assert_eq!(snapshot.invoices(operators, Offset(2), Offset(5)).await.unwrap(), rows[1..2]);
    assert_eq!(snapshot.invoices(HERE, Offset(0), Offset(9)).await.unwrap(), []);
}

pub(super) async fn what_is_open_is_what_no_invoice_covers(stage: Stage) {
    let accounts: Vec<AccountId> = (0..3).map(|n| account_in(HERE, n)).collect::<BTreeSet<_>>().into_iter().collect();
    let [idle, open_from_start, partly] = accounts[..] else { panic!("three") };
    let records = [
        open(idle, 1),
        open(open_from_start, 2),
        open(partly, 3),
        key(idle, 4, 1, 1),
        granted(partly, 5, 50),
        granted(open_from_start, 6, 60),
        granted(partly, 7, 20),
        granted(partly, 8, 80),
    ];
    stage.apply(HERE, &records).await;
    let (first, record) = issued(partly, "1969-12", None, 4);
    stage.apply(operators(), &[open(AccountId::OPERATOR, 9), record]).await;
    let row = |account_id, last, open_since: Option<i64>| {
        let open_since = open_since.map(Timestamp::from_micros);
        Invoiced { account_id, partition: HERE, last, open_since }
    };
    let of_operator =
        Invoiced { account_id: AccountId::OPERATOR, partition: operators(), last: None, open_since: None };
    let december: Month = "1969-12".parse().unwrap();
    let expected = [
        row(idle, None, None),
        row(open_from_start, None, Some(60)),
        row(partly, Some((first.through, december)), Some(20)),
        of_operator,
    ];
    assert_eq!(stage.store.invoiced(None, 9).await.unwrap(), expected);
    assert_eq!(stage.store.invoiced(Some(idle), 2).await.unwrap(), expected[1..3]);
    assert_eq!(stage.store.invoiced(Some(AccountId::OPERATOR), 2).await.unwrap(), []);
    assert_eq!(stage.store.invoiced(Some(AccountId(Uuid::max())), 2).await.unwrap(), []);
}

/// The last entry before the first one at or after a time, of those after a place, entry by entry.
fn naive_cut(entries: &[(u64, i64)], after: Option<u64>, time: i64) -> Option<Offset> {
    let mut last = None;
    for (offset, at) in entries.iter().filter(|(offset, _)| after.is_none_or(|after| *offset > after)) {
        if *at >= time {
            break;
        }
        last = Some(Offset(*offset));
    }
    last
}

pub(super) async fn a_cut_is_where_a_naive_reader_makes_it(stage: Stage) {
    let mut runner = TestRunner::deterministic();
    for case in 0..12_u32 {
        let (here, account) = (PartitionId(case), account_in(PartitionId(case), 0));
        let times = prop::collection::vec(prop::option::weighted(0.8, 0..10_i64), 1..25);
        let times = times.new_tree(&mut runner).unwrap().current();
        let id = |n: usize| u128::from(case) * 1_000 + n as u128;
        // What has no time here is a key: it concerns no money, so it is no entry.
        let records = times.iter().enumerate().map(|(n, time)| match time {
            Some(time) => granted(account, id(n), *time),
            None => key(account, id(n), id(n), u8::try_from(n).unwrap()),
        });
        let records: Vec<_> = std::iter::once(open(account, id(999))).chain(records).collect();
        stage.apply(here, &records).await;
        let entries: Vec<_> = (1..).zip(&times).filter_map(|(offset, time)| Some((offset, (*time)?))).collect();
        for time in -1..=10 {
            for after in std::iter::once(None).chain((0..26).step_by(3).map(Some)) {
                let cut = stage.store.cut(account, after.map(Offset), Timestamp::from_micros(time)).await.unwrap();
                assert_eq!(cut, naive_cut(&entries, after, time), "{entries:?} after {after:?} at {time}");
            }
        }
    }
}
