//! What the usage store relies on, shown on the engine that the tests run on.

use clickhouse::{Client, Row, error::Error};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Fact {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    account: String,
    tokens: u64,
    cost: i128,
}

fn fact(number: u64) -> Fact {
    Fact {
        id: Uuid::from_u128(u128::from(number) << 64 | 0x0a0a),
        account: format!("a{number}\n\n;'\\"),
        tokens: number,
        cost: i128::from(number) * 5_000_000 - 7,
    }
}

async fn facts_table(client: &Client) {
    let create = "CREATE TABLE facts (id UUID, account String, tokens UInt64, cost Decimal(38, 12)) \
                  ENGINE = MergeTree ORDER BY (account, id) SETTINGS non_replicated_deduplication_window = 1000";
    client.query(create).execute().await.expect("created");
}

async fn insert(client: &Client, facts: &[Fact]) {
    let mut insert = client.insert::<Fact>("facts").await.expect("begun");
    for fact in facts {
        insert.write(fact).await.expect("written");
    }
    insert.end().await.expect("inserted");
}

async fn count(client: &Client) -> u64 {
    client.query("SELECT count() FROM facts").fetch_one().await.expect("counted")
}

#[tokio::test]
async fn numbers_and_texts_come_back_as_they_went() {
    let database = super::database().await;
    let client = database.client();
    facts_table(&client).await;
    // 2,570 is 0x0a0a, an empty line amid the bytes of the numbers.
    let mut facts: Vec<Fact> = (0..20_000).map(fact).collect();
    facts[1].cost = 10_i128.pow(38) - 1;
    facts[2].cost = 1 - 10_i128.pow(38);
    insert(&client, &facts).await;
    assert_eq!(count(&client).await, 20_000);
    for wanted in [&facts[1], &facts[2], &facts[10], &facts[2_570], &facts[19_999]] {
        let select = "SELECT ?fields FROM facts WHERE account = ? AND tokens IN ?";
        let found = client.query(select).bind(&wanted.account).bind([wanted.tokens]).fetch_all::<Fact>().await;
        assert_eq!(found.expect("read"), std::slice::from_ref(wanted));
    }
    let cost = client.query("SELECT toString(sum(cost)) FROM facts WHERE tokens > 2").fetch_one::<String>().await;
    assert_eq!(cost.expect("summed"), "999.949984860021");
    let all = client.query("SELECT ?fields FROM facts ORDER BY tokens").fetch_all::<Fact>().await.expect("read");
    assert_eq!(all, facts);
}

#[tokio::test]
async fn unvalidated_rows_work_too() {
    let database = super::database().await;
    let client = database.client().with_validation(false);
    facts_table(&client).await;
    let facts: Vec<Fact> = (2_560..2_580).map(fact).collect();
    insert(&client, &facts).await;
    let all = client.query("SELECT ?fields FROM facts ORDER BY tokens").fetch_all::<Fact>().await.expect("read");
    assert_eq!(all, facts);
}

#[tokio::test]
async fn a_deduplication_token_counts_once() {
    let database = super::database().await;
    let client = database.client();
    facts_table(&client).await;
    let with_token = |token: &str| client.clone().with_setting("insert_deduplication_token", token);
    let facts: Vec<Fact> = (0..100).map(fact).collect();
    insert(&with_token("0-100"), &facts).await;
    insert(&with_token("0-100"), &facts).await;
    assert_eq!(count(&client).await, 100);
    insert(&with_token("100-200"), &facts).await;
    assert_eq!(count(&client).await, 200);
}

#[tokio::test]
async fn errors_carry_their_code() {
    let database = super::database().await;
    let client = database.client();
    for (query, code, name) in [
        ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"),
        ("SELEC 1", 62, "SYNTAX_ERROR"),
        ("CREATE TABLE t (a Nonsense) ENGINE = Memory", 50, "UNKNOWN_TYPE"),
    ] {
        match client.query(query).execute().await {
            Err(Error::BadResponse(text)) => {
                assert!(text.starts_with(&format!("Code: {code}. DB::Exception: ")), "{text}");
                assert!(text.contains(&format!("({name})")), "{text}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    let nowhere = client.clone().with_database("nowhere").query("SELECT 1").execute().await;
    assert!(nowhere.expect_err("no such database").to_string().contains("Code: 81."));
    facts_table(&client).await;
    let twice = "INSERT INTO facts (tokens) SELECT throwIf(number = 1, 'on purpose') FROM numbers(2)";
    let failed = client.query(twice).execute().await.expect_err("thrown").to_string();
    assert!(failed.contains("Code: 395.") && failed.contains("on purpose"), "{failed}");
}

#[tokio::test]
async fn an_insert_given_up_inserts_nothing() {
    let database = super::database().await;
    let client = database.client();
    facts_table(&client).await;
    let mut given_up = client.insert::<Fact>("facts").await.expect("begun");
    // More than the client keeps back before it sends.
    for number in 0..20_000 {
        given_up.write(&fact(number)).await.expect("written");
    }
    drop(given_up);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(count(&client).await, 0);
}

#[tokio::test]
async fn settings_and_databases_do_not_leak() {
    let (one, other) = tokio::join!(super::database(), super::database());
    let setting = "SELECT toUInt64(getSetting('max_threads')), currentDatabase()";
    let plain = one.client().query(setting).fetch_one::<(u64, String)>().await.expect("read");
    let set = other.client().with_setting("max_threads", "3").query(setting).fetch_one::<(u64, String)>();
    assert_eq!(set.await.expect("read"), (3, other.name().to_owned()));
    for _ in 0..50 {
        assert_eq!(one.client().query(setting).fetch_one::<(u64, String)>().await.expect("read"), plain);
    }
    assert_ne!(plain.0, 3);
    assert_eq!(plain.1, one.name());
}

#[tokio::test]
async fn queries_run_at_once() {
    let database = super::database().await;
    let began = std::time::Instant::now();
    let naps = (0..8).map(|_| {
        let client = database.client();
        tokio::spawn(async move { client.query("SELECT sleep(1)").fetch_one::<u8>().await.expect("slept") })
    });
    for nap in naps.collect::<Vec<_>>() {
        assert_eq!(nap.await.expect("ran"), 0);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_materialized_view_sums_up_exactly() {
    let database = super::database().await;
    let client = database.client();
    facts_table(&client).await;
    for create in [
        "CREATE TABLE sums (account String, tokens UInt64, cost Decimal(38, 12)) \
         ENGINE = SummingMergeTree ORDER BY account",
        "CREATE MATERIALIZED VIEW sum TO sums AS SELECT account, sum(tokens) AS tokens, sum(cost) AS cost FROM facts \
         GROUP BY account",
    ] {
        client.query(create).execute().await.expect("created");
    }
    let account = |tokens| Fact { account: "a".to_owned(), ..fact(tokens) };
    for batch in [[account(1), account(2)], [account(3), account(4)]] {
        insert(&client, &batch).await;
    }
    let sums = client.query("SELECT sum(tokens), toString(sum(cost)) FROM sums").fetch_one::<(u64, String)>().await;
    assert_eq!(sums.expect("read"), (10, "0.000049999972".to_owned()));
}

#[tokio::test]
async fn what_was_inserted_survives_a_crash() {
    let server = super::start().await;
    let database = server.database().await;
    let client = database.client();
    facts_table(&client).await;
    let facts: Vec<Fact> = (0..1_000).map(fact).collect();
    let once = client.clone().with_setting("insert_deduplication_token", "once");
    insert(&once, &facts).await;
    server.kill9().await;
    client.query("SELECT 1").execute().await.expect_err("nobody answers");
    server.start_again().await;
    assert_eq!(count(&client).await, 1_000);
    insert(&once, &facts).await;
    assert_eq!(count(&client).await, 1_000, "the token is remembered");
    server.stop().await;
    server.start_again().await;
    assert_eq!(count(&client).await, 1_000);
}
