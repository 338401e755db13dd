//! A rebuild gives the same tables, byte for byte.

use super::{named, planted};
use crate::books;
use crate::system::{Stop, System};

#[tokio::test(flavor = "multi_thread")]
async fn embedded_rebuilds_are_identical_and_refused_while_it_runs() {
    let system = System::embedded().await;
    books::history(&*books::log(&system).await).await;
    books::applied(&system).await;
    for store in ["ledger", "usage"] {
        let refused = system.run(&["rebuild", store]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("stop it (SIGTERM"), "{refused:?}");
    }
    system.stop(Stop::Terminate).await;
    let (ledger, usage) = (system.data_dir().join("ledger.sqlite"), system.data_dir().join("usage.sqlite"));
    let before = books::sqlite_dump(&ledger).await;
    assert!(before.iter().any(|row| row.starts_with("contacts:")), "{before:#?}");
    let rebuilt = system.run(&["rebuild", "ledger"]).await;
    assert_eq!((rebuilt.code, rebuilt.stdout.contains("from 27 records")), (0, true), "{rebuilt:?}");
    assert_eq!(books::sqlite_dump(&ledger).await, before);
    // The projector may have been stopped before the last records; a rebuild never is.
    assert_eq!(system.run(&["rebuild", "usage"]).await.code, 0);
    let before = books::sqlite_dump(&usage).await;
    assert_eq!(before.iter().filter(|row| row.starts_with("usage_facts:")).count(), 16);
    books::tamper(&usage, "UPDATE usage_facts SET cost_pico = 0").await;
    assert_eq!(system.run(&["rebuild", "usage"]).await.code, 0);
    assert_eq!(books::sqlite_dump(&usage).await, before);

    // Cut short at any moment, it can be run again, or the service goes on from there.
    books::tamper(&ledger, "DROP TABLE lots; DROP TABLE postings; DELETE FROM positions").await;
    assert_eq!(system.run(&["rebuild", "ledger"]).await.code, 0);
    assert_eq!(system.run(&["audit"]).await.code, 0);
    system.start_again().await;
    books::applied(&system).await;
}

async fn usage_corruption_is_named(system: &System) {
    // A fact too many is in the rollups, too. What is gone is not agreed on.
    let another =
        "INSERT INTO usage_charges SELECT * REPLACE (generateUUIDv4() AS event_id) FROM usage_charges LIMIT 1";
    for (statement, sections) in
        [(another, &["usage_facts", "usage_rollups"][..]), ("TRUNCATE TABLE usage_charges", &["usage_store"])]
    {
        books::clickhouse(system).query(statement).execute().await.unwrap();
        for section in sections {
            named(&system.run(&["audit", "--json"]).await, &planted("", statement, section, None));
        }
    }
    let rebuilt = system.run(&["rebuild", "usage"]).await;
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    let audit = system.run(&["audit", "--json"]).await;
    assert_eq!(audit.code, 0, "{audit:?}");
    assert_eq!(audit.json()["sections"]["usage_facts"]["compared"], 2);
}

/// Kafka's records can't be edited, so what is planted here is planted in PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn distributed_corruption_is_named_and_rebuilds_are_identical() {
    let system = System::distributed().await;
    system.open_account("owner@example.com").await;
    let history = books::history(&*books::log(&system).await).await;
    books::applied(&system).await;
    let pool = books::postgres(&system).await;
    let before = books::postgres_dump(&pool).await;
    let refused = system.run(&["rebuild", "ledger"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("stop every one"), "{refused:?}");
    system.stop(Stop::Terminate).await;

    let (grant, used) = (&history[2], &history[8]);
    let of_1 = format!("account_id = '{}'", grant.account);
    let cases = [
        (
            planted(
                "",
                format!("UPDATE postings SET amount_usd = amount_usd + 1 WHERE event_id = '{}'", grant.event),
                "postings",
                Some((grant, "amount_usd")),
            ),
            format!("UPDATE postings SET amount_usd = amount_usd - 1 WHERE event_id = '{}'", grant.event),
        ),
        (
            planted(
                "",
                format!("UPDATE transfers SET amount = amount * 2 WHERE event_id = '{}'", used.event),
                "transfers",
                Some((used, "transfer 0")),
            ),
            format!("UPDATE transfers SET amount = amount / 2 WHERE event_id = '{}'", used.event),
        ),
        (
            planted("", format!("UPDATE accounts SET balance_usd = balance_usd - 1 WHERE {of_1}"), "balances", None),
            format!("UPDATE accounts SET balance_usd = balance_usd + 1 WHERE {of_1}"),
        ),
        (
            planted("", format!("UPDATE lots SET priority = priority + 1 WHERE {of_1}"), "lots", None),
            format!("UPDATE lots SET priority = priority - 1 WHERE {of_1}"),
        ),
        (
            planted("", format!("UPDATE accounts SET status = status || 'x' WHERE {of_1}"), "accounts", None),
            format!("UPDATE accounts SET status = rtrim(status, 'x') WHERE {of_1}"),
        ),
        (
            planted(
                "",
                format!("UPDATE accounts SET version_offset = -version_offset - 1 WHERE {of_1}"),
                "accounts",
                None,
            ),
            format!("UPDATE accounts SET version_offset = -version_offset - 1 WHERE {of_1}"),
        ),
        (
            planted("", "UPDATE keys SET hint = hint || 'x'", "keys", None),
            "UPDATE keys SET hint = rtrim(hint, 'x')".into(),
        ),
        (
            planted(
                "",
                format!("UPDATE postings SET event_time = event_time + 1 WHERE event_id = '{}'", used.event),
                "postings",
                Some((used, "event_time")),
            ),
            format!("UPDATE postings SET event_time = event_time - 1 WHERE event_id = '{}'", used.event),
        ),
        (
            planted(
                "",
                format!("UPDATE transfers SET idx = idx + 5 WHERE event_id = '{}'", used.event),
                "transfers",
                Some((used, "transfer 0")),
            ),
            format!("UPDATE transfers SET idx = idx - 5 WHERE event_id = '{}'", used.event),
        ),
        (planted("", "UPDATE positions SET chain = decode(repeat('00', 32), 'hex')", "positions", None), String::new()),
    ];
    for (case, undo) in &cases {
        books::postgres_tamper(&pool, &case.statement).await;
        named(&system.run(&["audit", "--json"]).await, case);
        if !undo.is_empty() {
            books::postgres_tamper(&pool, undo).await;
        }
    }
    let rebuilt = system.run(&["rebuild", "ledger"]).await;
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    assert_eq!(books::postgres_dump(&pool).await, before);

    let tables = "DROP TABLE accounts, keys, lots, positions, postings, quarantine, transfers";
    sqlx::query(tables).execute(&pool).await.unwrap();
    let rebuilt = system.run(&["rebuild", "ledger"]).await;
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    assert_eq!(books::postgres_dump(&pool).await, before);

    usage_corruption_is_named(&system).await;
    system.start_again().await;
    books::applied(&system).await;
}
