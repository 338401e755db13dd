//! Commands wait for the ledger, wherever it runs, and effects wait for the commit.

use std::sync::Arc;
use std::time::Duration;

use eventlog::embedded::EmbeddedLog;
use eventlog::{Bounds, EventLog, Record, Sink, SinkError};
use schemas::api::GrantCredit;
use schemas::{Offset, PartitionId};

use super::{LedgerError, done, open, usd};
use crate::LedgerSink;
use crate::rig::{Options, Rig};

#[tokio::test]
async fn another_processs_ledger_is_waited_for() {
    let rig = Rig::with(Options { same_process: false, ..Options::default() }).await;
    let opened = done(rig.ledger.open_account(open("ann@example.com", "free")).await);
    assert_eq!(done(rig.ledger.account(opened.account_id).await).balance_usd, usd("5"));
}

#[tokio::test]
async fn a_store_that_is_ahead_of_its_log_is_not_gone_on_with() {
    let (rig, folder) = (Rig::new().await, tempfile::TempDir::new().unwrap());
    done(rig.ledger.open_account(open("ann@example.com", "free")).await);
    let ends = done(rig.ledger.fits_the_log().await);
    let (partition, end) = ends.into_iter().find(|(_, end)| end.0 > 0).unwrap();
    let empty = Arc::new(EmbeddedLog::open(&folder.path().join("log.db"), 3).await.unwrap());
    let told = format!("has applied partition {partition} up to {end}, but the log ends at 0");
    for outcome in [rig.ledger_of(empty.clone()).catch_up().await, rig.ledger_of(empty).is_of_its_log().await] {
        refused(outcome, &told);
    }
}

fn refused(outcome: Result<(), LedgerError>, told: &str) {
    let Err(error) = outcome else { panic!("it is the store's: {told}") };
    assert!(error.is_of_the_log() && error.to_string().contains(told), "{error}");
    assert!(error.to_string().contains("modelhub rebuild ledger"), "{error}");
}

/// The log that lost its last records may be as long as it was by the time that somebody looks.
#[tokio::test]
async fn another_log_is_told_by_its_last_record_and_its_partitions() {
    let (rig, folder) = (Rig::new().await, tempfile::TempDir::new().unwrap());
    let opened = done(rig.ledger.open_account(open("ann@example.com", "free")).await);
    done(rig.ledger.is_of_its_log().await);
    let place = done(rig.ledger.account(opened.account_id).await).version;
    let first = EmbeddedLog::open(&folder.path().join("same.db"), 3).await.unwrap();
    let other = EmbeddedLog::open(&folder.path().join("other.db"), 3).await.unwrap();
    let all = rig.log.read(place.partition, Offset(0), Bounds::default()).await.unwrap().records;
    for (number, record) in (1..).zip(&all) {
        let key = opened.account_id;
        let same = Record { key, payload: record.payload.clone() };
        let last = if number == all.len() { Record { key, payload: "another".into() } } else { same.clone() };
        first.append(same).await.unwrap();
        other.append(last).await.unwrap();
    }
    let more = Record { key: opened.account_id, payload: "one more".into() };
    first.append(more.clone()).await.unwrap();
    other.append(more).await.unwrap();
    done(rig.ledger_of(Arc::new(first)).is_of_its_log().await);
    let other = rig.ledger_of(Arc::new(other));
    done(other.fits_the_log().await);
    refused(other.is_of_its_log().await, &format!("the record at {place} is not the one"));

    let grown = EmbeddedLog::open(&folder.path().join("grown.db"), 4).await.unwrap();
    refused(rig.ledger_of(Arc::new(grown)).is_of_its_log().await, "the log has 4 partitions, and had 3");
}

#[tokio::test]
async fn a_command_that_nobody_applies_says_so() {
    let apply_timeout = Duration::from_millis(50);
    let rig = Rig::with(Options { sink: false, apply_timeout, ..Options::default() }).await;
    let Err(error) = rig.ledger.open_account(open("ann@example.com", "free")).await else { panic!("applied") };
    assert!(matches!(error, LedgerError::NotYetApplied { position, .. } if position.offset == Offset(0)), "{error}");
    assert!(error.to_string().contains("is not applied yet after 50ms"), "{error}");
    assert_eq!(rig.logged().await.0, ["account.opened"]);
}

#[tokio::test]
async fn effects_are_told_after_the_commit_and_only_then() {
    let rig = Rig::new().await;
    let account_id = done(rig.ledger.open_account(open("ann@example.com", "free")).await).account_id;
    let mut told = rig.feed.subscribe();
    let grant = GrantCredit { account_id, amount_usd: usd("1"), reason: "r".into(), idempotency_key: None };
    done(rig.ledger.grant_credit(grant).await);
    let view = done(rig.ledger.account(account_id).await);
    // What opening the account led to may be told after the command has found it in the store.
    let mut applied = told.recv().await.unwrap();
    while applied.next < view.version.offset.next() {
        applied = told.recv().await.unwrap();
    }
    assert_eq!((applied.partition, applied.next), (view.version.partition, view.version.offset.next()));
    assert_eq!((applied.views.as_slice(), view.balance_usd), (&[view.clone()][..], usd("6")));

    let sink = LedgerSink::new(std::sync::Arc::clone(&rig.store), std::sync::Arc::clone(&rig.feed), 3);
    let stale = rig.log.read(applied.partition, Offset(0), eventlog::Bounds::default()).await.unwrap();
    let moved = sink.apply(stale).await.unwrap_err();
    assert!(matches!(moved, SinkError::Moved), "{moved}");
    assert!(told.try_recv().is_err(), "told of a batch that was refused");
    assert_eq!(sink.position(applied.partition).await.unwrap(), applied.next);
    let empty = (0..3).map(PartitionId).find(|partition| *partition != applied.partition).unwrap();
    assert_eq!(sink.position(empty).await.unwrap(), Offset(0));

    rig.store.close().await;
    let error = sink.position(applied.partition).await.unwrap_err();
    assert!(matches!(&error, SinkError::Unavailable(text) if text.contains("could not read its position")), "{error}");
}
