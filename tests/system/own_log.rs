//! A store goes on with no other log than its own, at a start and while it runs.

use std::time::Duration;

use crate::books;
use crate::system::{Stop, System};

/// The last record that was applied is another one, and the log is longer than it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_refuses_a_log_that_lost_its_end_and_grew_again() {
    let system = System::embedded().await;
    let log = books::log(&system).await;
    let history = books::history(&*log).await;
    books::applied(&system).await;
    system.stop(Stop::Terminate).await;
    let file = system.data_dir().join("log.sqlite");
    let last = history.last().unwrap();
    books::tamper(&file, &format!("DELETE FROM records WHERE \"offset\" >= {}", last.position.offset)).await;
    for id in 900..903 {
        books::append(&*log, last.account, books::used(last.account, id)).await;
    }
    for arguments in [&["serve"][..], &["admin", "balance", "--account", &last.account.to_string()]] {
        let refused = system.run(arguments).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        let told = format!("the record at {} is not the one that the ledger's store has applied", last.position);
        assert!(refused.stderr.contains(&told), "{refused:?}");
        assert!(refused.stderr.contains("modelhub rebuild ledger"), "{refused:?}");
    }
    assert_eq!(system.run(&["rebuild", "ledger"]).await.code, 0);
    assert_eq!(system.run(&["rebuild", "usage"]).await.code, 0);
    system.start_again().await;
    books::applied(&system).await;
}

/// A process whose consumer can't go on must not go on answering.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_loses_its_end_meanwhile_ends_the_process() {
    let system = System::embedded().await;
    let log = books::log(&system).await;
    let history = books::history(&*log).await;
    books::applied(&system).await;
    let (place, end) = (history[10].position.offset, history.last().unwrap().position.offset.next());
    books::tamper(&system.data_dir().join("log.sqlite"), &format!("DELETE FROM records WHERE \"offset\" >= {place}"))
        .await;
    // At the latest when something is appended, the consumer reads where the log is not any more.
    let next =
        tokio::time::timeout(Duration::from_secs(30), system.try_admin(&["open-account", "--email", "b@example.com"]));
    assert!(next.await.unwrap().is_err(), "an account was opened");
    let serve = system.service("serve");
    assert_eq!(serve.exit().await, 1);
    let told = "the event log can't be gone on with: partition 0 holds offsets from 0";
    assert!(serve.stderr().contains(told), "{}", serve.stderr());
    let refused = system.run(&["serve"]).await;
    let told = format!("has applied partition 0 up to {}, but the log ends at", end.0);
    assert!(refused.code == 1 && refused.stderr.contains(&told), "{told}: {refused:?}");
}
