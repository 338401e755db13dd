//! What can't post is listed, shown, and tried again, in both modes.

use serde_json::{Value, json};

use crate::books;
use crate::system::{Stop, System};

async fn list(system: &System) -> Vec<Value> {
    system.admin(&["quarantine", "list"]).await.as_array().unwrap().clone()
}

async fn is_tried_again(system: System) {
    let log = books::log(&system).await;
    let account = books::account(7);
    let early = books::append(&*log, account, books::granted(account, 1)).await;
    let garbage = books::append(&*log, account, ("{\"garbage\":".to_owned(), String::new())).await;
    books::applied(&system).await;
    let (early_at, garbage_at) = (early.position.to_string(), garbage.position.to_string());
    let rows = list(&system).await;
    let row = |position: &str, reason: &str, event: Value, account: Value, posted: Value| json!({"position": position, "reason": reason, "event_id": event, "account_id": account, "posted_at": posted});
    let told: Vec<_> = rows
        .iter()
        .map(|found| {
            let mut found = found.clone();
            assert!(!found["detail"].as_str().unwrap().is_empty());
            found.as_object_mut().unwrap().remove("detail");
            found
        })
        .collect();
    let unknown = row(&early_at, "unknown_account", json!(early.event), json!(account), Value::Null);
    assert_eq!(told, [unknown, row(&garbage_at, "undecodable", Value::Null, Value::Null, Value::Null)]);

    let shown = system.admin(&["quarantine", "show", &early_at]).await;
    assert_eq!(shown["record"], json!(early.payload));
    let missing = system.try_admin(&["quarantine", "show", "0:999"]).await.unwrap_err();
    assert!(missing.contains("0:999 is not in quarantine"), "{missing}");

    // Still no account, and still no event.
    let again = system.try_admin(&["quarantine", "retry", &early_at]).await.unwrap_err();
    assert!(again.contains("can't post this time either") && again.contains("unknown_account"), "{again}");
    let unreadable = system.try_admin(&["quarantine", "retry", &garbage_at]).await.unwrap_err();
    assert!(unreadable.contains("appended nothing"), "{unreadable}");
    assert_eq!(list(&system).await.len(), 3, "another try is another record");

    books::append(&*log, account, books::opened(account, 2)).await;
    let posted = system.admin(&["quarantine", "retry", &early_at]).await;
    assert_eq!((&posted["account_id"], &posted["balance_usd"]), (&json!(account), &json!("5")), "{posted}");
    let appended = posted["appended"].as_str().unwrap().to_owned();
    let twice = system.admin(&["quarantine", "retry", &early_at]).await;
    assert_eq!(twice["appended"], "nothing: it had posted already");
    let rows = list(&system).await;
    let posted_at: Vec<_> =
        rows.iter().filter(|row| row["event_id"] == json!(early.event)).map(|row| &row["posted_at"]).collect();
    assert_eq!(posted_at, [&json!(appended), &json!(appended)]);
    books::applied(&system).await;

    // An id that another fact has: no try can help, and none is made.
    let reused = {
        let (granted, id) = books::granted(account, 1);
        books::append(&*log, account, (granted.replacen(r#""amount_usd":"5""#, r#""amount_usd":"6""#, 1), id)).await
    };
    books::applied(&system).await;
    let refused = system.try_admin(&["quarantine", "retry", &reused.position.to_string()]).await.unwrap_err();
    assert!(refused.contains(&format!("posted at {appended}, so it can never post")), "{refused}");
    let rows = list(&system).await;
    let last = rows.last().unwrap();
    assert_eq!((&last["reason"], &last["posted_at"]), (&json!("id_reused"), &json!(appended)));
    assert_eq!(rows.len(), 4);

    // Derived from the log, so a rebuild gives the same.
    system.stop(Stop::Terminate).await;
    assert_eq!(system.run(&["rebuild", "ledger"]).await.code, 0);
    assert_eq!(list(&system).await, rows);
    assert_eq!(system.run(&["audit"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_quarantine_is_tried_again() {
    is_tried_again(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_quarantine_is_tried_again() {
    is_tried_again(System::distributed().await).await;
}

/// On a data folder that no process has, the command folds the log itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_resting_data_folder_is_tried_again() {
    let system = System::embedded().await;
    let log = books::log(&system).await;
    let account = books::account(7);
    let early = books::append(&*log, account, books::granted(account, 1)).await;
    books::append(&*log, account, books::opened(account, 2)).await;
    books::applied(&system).await;
    system.stop(Stop::Terminate).await;
    let posted = system.admin(&["quarantine", "retry", &early.position.to_string()]).await;
    assert_eq!(posted["balance_usd"], "5", "{posted}");
}
