//! Commands wait for the ledger, wherever it runs, and effects wait for the commit.

use std::time::Duration;

use eventlog::{EventLog, Sink, SinkError};
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
    let Err(error) = rig.ledger_of_another_log(&folder).await.catch_up().await else { panic!("caught up") };
    let told = format!("has applied partition {partition} up to {end}, but the log ends at 0");
    assert!(error.to_string().contains(&told), "{error}");
    assert!(error.to_string().contains("modelhub rebuild ledger"), "{error}");
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
