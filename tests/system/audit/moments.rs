//! What is compared is of one moment: of now, while others write, or of the past.

use serde_json::json;

use crate::books;
use crate::system::System;

/// Whatever comes in meanwhile, what is compared is of one moment.
async fn is_clean_beside_a_writer(system: System) {
    let log = books::log(&system).await;
    let account = books::account(1);
    for event in [books::opened(account, 1), books::granted(account, 2), books::used(account, 3)] {
        books::append(&*log, account, event).await;
    }
    books::applied(&system).await;
    let writer = tokio::spawn(async move {
        for id in 4.. {
            books::append(&*log, account, books::used(account, id)).await;
        }
    });
    for _ in 0..3 {
        let audit = system.run(&["audit", "--json"]).await;
        assert_eq!(audit.code, 0, "{audit:?}");
        assert!(audit.json()["sections"]["usage_facts"]["compared"].as_u64() > Some(0), "{audit:?}");
    }
    assert!(!writer.is_finished());
    writer.abort();
    assert!(writer.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_audit_needs_no_pause() {
    is_clean_beside_a_writer(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distributed_audit_needs_no_pause() {
    is_clean_beside_a_writer(System::distributed().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_as_it_was() {
    let system = System::embedded().await;
    let history = books::history(&*books::log(&system).await).await;
    books::applied(&system).await;
    // It never posts, and it happened long after.
    let log = books::log(&system).await;
    let (wrong, id) = books::used(history[0].account, 1 << 60);
    let wrong = wrong.replace(r#""cost_usd":"0.000005""#, r#""cost_usd":"0.000006""#);
    let wrong = wrong.replace(r#""time":"2026"#, r#""time":"2027"#);
    books::append(&*log, history[0].account, (wrong, id)).await;
    let last = books::append(&*log, history[0].account, books::used(history[0].account, 1 << 61)).await;
    books::applied(&system).await;
    let account = history[0].account.to_string();
    let then = |at: String| {
        let (system, account) = (&system, account.clone());
        async move {
            let audit = system.run(&["audit", "--json", "--at", &at]).await;
            assert_eq!(audit.code, 0, "{at}: {audit:?}");
            let report = audit.json();
            let accounts = report["accounts"].as_array().cloned().unwrap_or_default();
            let balance = accounts.iter().find(|found| found["account_id"] == json!(account));
            let balance = balance.map(|found| found["balance_usd"].as_str().unwrap().to_owned());
            let statement = system.admin(&["statement", "--account", &account, "--at", &at]).await;
            if let Some(balance) = &balance {
                assert_eq!(statement["closing_usd"], json!(balance), "{at}");
            }
            balance
        }
    };
    let at = |n: usize| history[n].position.to_string();
    assert_eq!(then("0:0".to_owned()).await, None);
    assert_eq!(then(at(0)).await.as_deref(), Some("0"));
    assert_eq!(then(at(2)).await.as_deref(), Some("5"));
    assert_eq!(then(at(4)).await.as_deref(), Some("4.999995"));
    assert_eq!(then(at(history.len() - 1)).await.as_deref(), Some("4.99996"));
    // The golden events are of the first microseconds of a month, and the use of the second second.
    assert_eq!(then("2026-11-01T00:00:00Z".to_owned()).await, None);
    assert_eq!(then("2026-11-01T00:00:01Z".to_owned()).await.as_deref(), Some("5"));
    assert_eq!(then("2026-11-01T00:00:02Z".to_owned()).await.as_deref(), Some("4.999955"));
    assert_eq!(then(last.position.to_string()).await.as_deref(), Some("4.999955"));
    for (at, told) in [
        ("yesterday", "neither a position"),
        ("7:0", "the log has 1 partitions, numbered from 0, and 7 is none of them"),
        ("0:9999", "that partition of the log ends at 29"),
    ] {
        let refused = system.run(&["audit", "--at", at]).await;
        assert!(refused.code != 0 && refused.stderr.contains(told), "{refused:?}");
    }
}
