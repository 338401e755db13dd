//! Whatever is changed in a log or a store is named.

use super::{copy, named, planted, text};
use crate::books::{self, Written};
use crate::system::{Stop, System};

#[expect(clippy::too_many_lines, reason = "one row a kind of corruption, on one log")]
#[tokio::test(flavor = "multi_thread")]
async fn planted_corruption_is_named() {
    let system = System::embedded().await;
    let log = books::log(&system).await;
    let history = books::history(&*log).await;
    books::applied(&system).await;
    system.stop(Stop::Terminate).await;
    for store in ["ledger", "usage"] {
        assert_eq!(system.run(&["rebuild", store]).await.code, 0);
    }
    let clean = system.run(&["audit", "--json"]).await;
    assert_eq!(clean.code, 0, "{clean:?}");
    let sections = &clean.json()["sections"];
    for (section, compared) in
        [("postings", 23), ("transfers", 19), ("quarantine", 2), ("accounts", 3), ("lots", 3), ("usage_facts", 2)]
    {
        assert_eq!(sections[section]["compared"], compared, "{section}: {sections:#}");
    }

    let partition = &clean.json()["partitions"]["0"];
    assert_eq!(partition["waiting"], 0, "{partition}");
    assert_eq!(partition["usage"]["waiting"], 0, "{partition}");
    assert_eq!(partition["end"], partition["applied"], "{partition}");

    let grant = &history[2];
    let [use_of_1, use_of_2] = [&history[6], &history[7]];
    let garbage = history.iter().find(|written| written.event.is_empty()).unwrap();
    let last_of_1 = &history[history.len() - 2];
    assert_ne!(use_of_1.account, use_of_2.account);
    let of = |written: &Written| written.position.offset.0;
    let id = |written: &Written| written.event.replace('-', "").to_uppercase();
    let record = |written: &Written| format!("partition = 0 AND \"offset\" = {}", of(written));
    let swap = format!(
        "UPDATE records SET \"offset\" = 1000 WHERE {}; UPDATE records SET \"offset\" = {} WHERE {}; \
         UPDATE records SET \"offset\" = {} WHERE \"offset\" = 1000",
        record(use_of_1),
        of(use_of_1),
        record(use_of_2),
        of(use_of_2),
    );
    let closed_up = format!(
        "DELETE FROM records WHERE {0}; UPDATE records SET \"offset\" = -\"offset\" + 10000 WHERE \"offset\" > {1}; \
         UPDATE records SET \"offset\" = 10000 - \"offset\" - 1 WHERE \"offset\" > {1} + 1000",
        record(use_of_1),
        of(use_of_1),
    );
    let edit = |written: &Written, from: &str, to: &str| {
        assert!(written.payload.contains(from), "{from}");
        let record = record(written);
        format!(
            "UPDATE records SET payload = CAST(replace(CAST(payload AS TEXT), '{from}', '{to}') AS BLOB) WHERE {record}"
        )
    };
    let posting =
        |set: &str, written: &Written| format!("UPDATE postings SET {set} WHERE event_id = x'{}'", id(written));
    let of_1 = format!("account_id = x'{}'", history[0].account.0.simple());
    // What is told of a place without its event.
    let place = |written: &Written| Written { event: String::new(), ..written.clone() };
    let (at_use, at_last) = (place(use_of_1), place(history.last().unwrap()));
    let account = |set: &str| format!("UPDATE accounts SET {set} WHERE {of_1}");
    let lot = |set: &str| format!("UPDATE lots SET {set} WHERE {of_1}");
    let event = format!("event_id = x'{}'", id(use_of_1));
    let transfer = |set: &str| format!("UPDATE transfers SET {set} WHERE {event} AND idx = 0");
    // One more row like that of the use, whatever the columns are.
    let another = |table: &str, set: &str| {
        format!(
            "CREATE TABLE one AS SELECT * FROM {table} WHERE {event}; UPDATE one SET {set}; \
             INSERT INTO {table} SELECT * FROM one; DROP TABLE one"
        )
    };
    let emptied = |tables: &[&str]| tables.iter().map(|table| format!("DELETE FROM {table};")).collect::<String>();
    let cases = [
        // In the log.
        planted(
            "log",
            edit(grant, r#""amount_usd":"5""#, r#""amount_usd":"6""#),
            "postings",
            Some((grant, "amount_usd")),
        ),
        planted("log", edit(use_of_1, r#""source":"/"#, r#""source":"x"#), "positions", Some((use_of_1, "the record"))),
        planted("log", edit(garbage, "garbage", "sweepin"), "quarantine", Some((garbage, "the record"))),
        planted(
            "log",
            format!("DELETE FROM records WHERE {}", record(use_of_1)),
            "log",
            Some((use_of_1, "the record")),
        ),
        planted("log", closed_up, "postings", Some((use_of_1, "event posted here"))),
        planted("log", swap, "postings", Some((use_of_1, "event posted here"))),
        planted(
            "log",
            format!("DELETE FROM records WHERE \"offset\" >= {}", of(last_of_1)),
            "log",
            Some((last_of_1, "the record")),
        ),
        // In the ledger's database.
        planted("ledger", posting("amount_usd = amount_usd + 1", grant), "postings", Some((grant, "amount_usd"))),
        planted("ledger", posting("balance_usd = 0", use_of_1), "postings", Some((use_of_1, "balance_usd"))),
        planted("ledger", posting("detail = NULL", use_of_1), "postings", Some((use_of_1, "detail"))),
        planted("ledger", posting("log_offset = 500", use_of_1), "postings", Some((use_of_1, "the posting"))),
        planted("ledger", posting("chain_tag = 7", use_of_1), "positions", Some((use_of_1, "the record"))),
        planted(
            "ledger",
            format!("DELETE FROM postings WHERE event_id = x'{}'", id(use_of_1)),
            "postings",
            Some((use_of_1, "the posting")),
        ),
        planted(
            "ledger",
            format!("UPDATE transfers SET amount = amount + 1 WHERE event_id = x'{}'", id(use_of_1)),
            "transfers",
            Some((use_of_1, "transfer 0")),
        ),
        planted(
            "ledger",
            format!("DELETE FROM transfers WHERE event_id = x'{}'", id(grant)),
            "transfers",
            Some((grant, "transfer 0")),
        ),
        planted(
            "ledger",
            "INSERT INTO transfers SELECT partition_no, log_offset, x'00000000000000000000000000000000', 1, debit, credit, commodity, amount, code, lot_id FROM transfers LIMIT 1",
            "strays",
            None,
        ),
        planted(
            "ledger",
            format!("INSERT INTO renewals SELECT account_id, 5 FROM accounts WHERE {of_1}"),
            "accounts",
            None,
        ),
        planted("ledger", "INSERT INTO renewals VALUES (zeroblob(16), 5)", "strays", None),
        planted("ledger", "UPDATE quarantine SET reason = 'none'", "quarantine", Some((garbage, "reason"))),
        planted("ledger", format!("UPDATE accounts SET balance_usd = balance_usd + 1 WHERE {of_1}"), "balances", None),
        planted("ledger", format!("UPDATE accounts SET debt_usd = 1 WHERE {of_1}"), "accounts", None),
        planted("ledger", format!("DELETE FROM accounts WHERE {of_1}"), "accounts", None),
        planted("ledger", format!("UPDATE lots SET remaining_usd = remaining_usd - 1 WHERE {of_1}"), "lots", None),
        planted("ledger", format!("DELETE FROM lots WHERE {of_1}"), "lots", None),
        planted("ledger", "UPDATE keys SET name = 'another'", "keys", None),
        planted("ledger", "UPDATE positions SET chain = zeroblob(32)", "positions", None),
        planted(
            "ledger",
            "UPDATE accounts SET state = (SELECT state FROM accounts ORDER BY account_id LIMIT 1) \
             WHERE account_id = (SELECT max(account_id) FROM accounts)",
            "accounts",
            None,
        ),
        planted("ledger", account("state = '{}'"), "accounts", None),
        planted("ledger", account("status = 'closed'"), "accounts", None),
        planted("ledger", account("plan = json_set(plan, '$.id', 'other')"), "accounts", None),
        planted("ledger", account("plan = '[]'"), "accounts", None),
        planted("ledger", account("version_offset = version_offset + 1"), "accounts", None),
        planted("ledger", account("version_offset = -1"), "accounts", None),
        planted("ledger", lot("sequence = -1"), "lots", None),
        planted("ledger", lot("lot_id = x'07'"), "lots", None),
        planted("ledger", "UPDATE keys SET hash = zeroblob(32)", "keys", None),
        planted("ledger", posting("account_id = zeroblob(16)", use_of_1), "postings", Some((use_of_1, "account_id"))),
        planted("ledger", posting("event_type = 'x'", use_of_1), "postings", Some((use_of_1, "event_type"))),
        planted("ledger", posting("event_time = 7", use_of_1), "postings", Some((use_of_1, "event_time"))),
        planted("ledger", posting("chain_tag = NULL", use_of_1), "positions", Some((use_of_1, "chain_tag"))),
        planted("ledger", posting("fact_tag = 7", use_of_1), "postings", Some((use_of_1, "fact_tag"))),
        planted("ledger", posting("detail = '{}'", use_of_1), "postings", Some((&at_use, "can't be read"))),
        planted("ledger", posting("log_offset = -5", use_of_1), "postings", Some((use_of_1, "the posting"))),
        planted("ledger", another("postings", "event_id = zeroblob(16)"), "postings", Some((&at_use, "posted here"))),
        planted("ledger", transfer("lot_id = zeroblob(16)"), "transfers", Some((use_of_1, "transfer 0"))),
        planted("ledger", transfer("code = 'x'"), "transfers", Some((use_of_1, "transfer 0"))),
        planted("ledger", transfer("debit = 'x'"), "transfers", Some((use_of_1, "transfer 0"))),
        planted("ledger", transfer("credit = 'x'"), "transfers", Some((use_of_1, "transfer 0"))),
        planted("ledger", transfer("idx = -1"), "transfers", Some((use_of_1, "transfer 0"))),
        planted("ledger", another("transfers", "idx = 7"), "transfers", Some((use_of_1, "transfer 1"))),
        planted(
            "ledger",
            format!("UPDATE quarantine SET record = x'00' WHERE log_offset = {}", of(garbage)),
            "quarantine",
            Some((garbage, "the record")),
        ),
        planted(
            "ledger",
            format!("UPDATE quarantine SET event_id = zeroblob(16) WHERE log_offset = {}", of(garbage)),
            "quarantine",
            Some((garbage, "event and account")),
        ),
        planted(
            "ledger",
            "UPDATE positions SET next_offset = next_offset - 1",
            "positions",
            Some((&at_last, "not before its partition's position")),
        ),
        planted("ledger", "UPDATE positions SET next_offset = -1", "positions", None),
        planted(
            "ledger",
            emptied(&["accounts", "lots", "keys", "postings", "transfers", "quarantine", "positions"]),
            "positions",
            None,
        ),
        // In the usage store.
        planted(
            "usage",
            "UPDATE usage_facts SET cost_pico = cost_pico + 1 WHERE log_offset = (SELECT max(log_offset) FROM usage_facts)",
            "usage_facts",
            None,
        ),
        planted("usage", "UPDATE usage_hours SET requests = requests + 1", "usage_rollups", None),
        planted("usage", "UPDATE usage_facts SET model = 'other'", "usage_facts", None),
        planted("usage", "UPDATE usage_facts SET key_id = zeroblob(16)", "usage_facts", None),
        planted("usage", "UPDATE usage_facts SET outcome = 'client_gone'", "usage_facts", None),
        planted("usage", "UPDATE usage_facts SET ended_at = ended_at + 3600000000", "usage_facts", None),
        planted("usage", "UPDATE usage_hours SET model = 'other'", "usage_rollups", None),
        planted("usage", "UPDATE usage_hours SET hour = hour + 3600000000", "usage_rollups", None),
        planted("usage", emptied(&["usage_facts", "usage_hours", "positions"]), "usage_store", None),
        // What can't be compared is no agreement.
        planted("usage", "UPDATE positions SET next_offset = 1000", "usage_store", None),
        planted("usage", "UPDATE usage_facts SET key_id = x'07'", "usage_store", None),
    ];
    for case in &cases {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        copy(&system.data_dir(), &data);
        books::tamper(&data.join(format!("{}.sqlite", case.file)), &case.statement).await;
        let audit = system.run_with(&["audit", "--json"], &[("MODELHUB_DATA_DIR", text(&data))]).await;
        named(&audit, case);
    }
    assert_eq!(system.run(&["audit"]).await.code, 0, "the original is untouched");

    let ledger = system.data_dir().join("ledger.sqlite");
    // Part of the words beside a reason is a decoder's, of any version.
    books::tamper(&ledger, "UPDATE quarantine SET detail = 'in other words'").await;
    let audit = system.run(&["audit"]).await;
    assert_eq!(audit.code, 0, "{audit:?}");

    // Who only looks leaves another build's tables what they are.
    for (statement, told) in [
        ("UPDATE _sqlx_migrations SET version = 999 WHERE version = 10", "another build made its tables"),
        ("DELETE FROM _sqlx_migrations WHERE version = 999", "an older build made its tables"),
    ] {
        books::tamper(&ledger, statement).await;
        let before = books::sqlite_dump(&ledger).await;
        for command in [&["audit"][..], &["admin", "quarantine", "list"], &["admin", "quarantine", "show", "0:0"]] {
            let refused = system.run(command).await;
            assert!(refused.code == 1 && refused.stderr.contains(told), "{statement} {command:?}: {refused:?}");
        }
        assert_eq!(books::sqlite_dump(&ledger).await, before);
    }
}
