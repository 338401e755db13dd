//! A history that is written straight into the log, and a look into the databases: for audits, exports and rebuilds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clickhouse::{Client, Compression};
use eventlog::embedded::EmbeddedLog;
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, Record};
use schemas::{AccountId, Position};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgPool, SqliteConnection, query, query_scalar};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::system::{Finished, System};

const OPENED: &str = include_str!("../../schemas/golden/account.opened.v1.json");
const GRANTED: &str = include_str!("../../schemas/golden/credit.granted.v1.json");
const USED: &str = include_str!("../../schemas/golden/usage.recorded.v1.json");

/// The account of the golden files.
const GOLDEN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A record of the history, where it is in the log, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) position: Position,
    pub(crate) event: String,
    pub(crate) account: AccountId,
    pub(crate) payload: String,
}

/// The log of a system, beside its services.
pub(crate) async fn log(system: &System) -> Arc<dyn EventLog> {
    let Some(brokers) = system.variable("MODELHUB_KAFKA__BROKERS") else {
        return Arc::new(EmbeddedLog::open(&system.data_dir().join("log.sqlite"), 1).await.expect("a log"));
    };
    let variable = |key: &str| system.variable(key).expect("a variable").to_owned();
    let config = KafkaConfig {
        brokers: brokers.to_owned(),
        topic: variable("MODELHUB_KAFKA__TOPIC"),
        partitions: variable("MODELHUB_KAFKA__PARTITIONS").parse().expect("a number"),
        replication: 1,
        session_timeout: Duration::from_secs(10),
        client_id: "tests".to_owned(),
    };
    Arc::new(KafkaLog::connect(config).await.expect("a log"))
}

/// An event of a golden file, about another account, with an id of its own.
pub(crate) fn event(golden: &str, account: AccountId, id: u128) -> (String, String) {
    let id = Uuid::from_u128(0xe0e0 << 64 | id).to_string();
    let was: Value = serde_json::from_str(golden).expect("JSON");
    let was = was["id"].as_str().expect("an id");
    (golden.trim_end().replacen(was, &id, 1).replace(GOLDEN, &account.to_string()), id)
}

pub(crate) fn opened(account: AccountId, id: u128) -> (String, String) {
    event(OPENED, account, id)
}

/// Five dollars.
pub(crate) fn granted(account: AccountId, id: u128) -> (String, String) {
    let (text, id) = event(GRANTED, account, id);
    // One lot an event.
    (text.replacen("01890a5d-ac96-774b-bcce-b302099a805b", &id, 1), id)
}

/// 0.000005 dollars.
pub(crate) fn used(account: AccountId, id: u128) -> (String, String) {
    event(USED, account, id)
}

pub(crate) fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(0xacc << 64 | n))
}

/// Appends a record.
pub(crate) async fn append(log: &dyn EventLog, account: AccountId, (payload, event): (String, String)) -> Written {
    let record = Record { key: account, payload: payload.clone().into_bytes().into() };
    Written { position: log.append(record).await.expect("appended"), event, account, payload }
}

/// Two accounts that take turns: opened, five dollars, eight uses, one of which is repeated; and a record that is none.
pub(crate) async fn history(log: &dyn EventLog) -> Vec<Written> {
    let mut written = Vec::new();
    let accounts = [account(1), account(2)];
    for (n, make) in [opened, granted, used, used, used, used, used, used, used, used].into_iter().enumerate() {
        for account in accounts {
            let id = account.0.as_u128() << 8 | n as u128;
            written.push(append(log, account, make(account, id)).await);
            if n == 4 {
                written.push(append(log, account, make(account, id)).await);
                written.push(append(log, account, ("{\"garbage\":".to_owned(), String::new())).await);
            }
        }
    }
    written
}

/// The report of an audit that may only find that a store has applied nothing of a partition yet, or that there is no usage
/// to compare: not every test runs a projector.
pub(crate) fn nothing_differs(audit: &Finished, context: &str) -> Value {
    let report = audit.json();
    if audit.code != 0 {
        let findings = report["findings"].as_array().expect("findings");
        let what = |finding: &Value| finding[1]["what"].as_str().expect("text").to_owned();
        let expected = |one: &Value| one[0] == "usage_store" || what(one).contains("has applied nothing of");
        assert!(!findings.is_empty(), "{context}: {audit:?}");
        assert!(findings.iter().all(expected), "{context}: {audit:?}");
    }
    report
}

/// Waits until both stores have applied all that is in the log, and gives the audit of then. Until a store has applied
/// the first record of a partition, an audit says that and fails; it must say nothing else.
pub(crate) async fn applied(system: &System) -> Value {
    let deadline = Instant::now() + Duration::from_mins(3);
    loop {
        let audit = system.run(&["audit", "--json"]).await;
        let report = nothing_differs(&audit, "");
        let mut partitions = report["partitions"].as_object().expect("partitions").values();
        let projected = system.projects();
        let done = |partition: &Value| partition["waiting"] == 0 && (!projected || partition["usage"]["waiting"] == 0);
        if (audit.code == 0 || !projected) && partitions.all(done) {
            return report;
        }
        assert!(Instant::now() < deadline, "{report}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A file of a data folder, for whoever tampers with it.
pub(crate) async fn sqlite(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.expect("a database")
}

pub(crate) async fn tamper(path: &Path, statement: &str) {
    let mut connection = sqlite(path).await;
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
    assert!(done.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected() > 0, "{statement}");
    connection.close().await.expect("closed");
}

/// Every row of every table of a file, as text: what two states have to be the same in. Not so the floors that a
/// reset notes, which run of a gateway came last, and the shares of requests, which end by the clock.
pub(crate) async fn sqlite_dump(path: &Path) -> Vec<String> {
    let mut connection = sqlite(path).await;
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'
            AND name NOT IN ('lease_floors', 'gateway_runs', 'request_shares') ORDER BY name";
    let tables: Vec<String> = query_scalar(tables).fetch_all(&mut connection).await.expect("tables");
    let mut rows = Vec::new();
    for table in tables {
        let columns = format!(
            "SELECT group_concat('quote(\"' || name || '\")', ' || '','' || ') FROM pragma_table_info('{table}')"
        );
        let columns: String = query_scalar(AssertSqlSafe(columns)).fetch_one(&mut connection).await.expect("columns");
        let all = format!("SELECT {columns} AS row FROM \"{table}\" ORDER BY row");
        let found: Vec<String> = query_scalar(AssertSqlSafe(all)).fetch_all(&mut connection).await.expect("rows");
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    connection.close().await.expect("closed");
    rows
}

/// The same of PostgreSQL.
pub(crate) async fn postgres_dump(pool: &PgPool) -> Vec<String> {
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_sqlx%'
            AND tablename NOT IN ('lease_floors', 'gateway_runs', 'request_shares') ORDER BY 1";
    let tables: Vec<String> = query_scalar(tables).fetch_all(pool).await.expect("tables");
    let mut rows = Vec::new();
    for table in tables {
        let all = format!("SELECT t::text FROM {table} t ORDER BY 1");
        let found: Vec<String> = query_scalar(AssertSqlSafe(all)).fetch_all(pool).await.expect("rows");
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    rows
}

pub(crate) async fn postgres(system: &System) -> PgPool {
    PgPool::connect(system.variable("MODELHUB_POSTGRES__URL").expect("a URL")).await.expect("a database")
}

pub(crate) async fn postgres_tamper(pool: &PgPool, statement: &str) {
    let done = query(AssertSqlSafe(statement.to_owned())).execute(pool).await;
    assert!(done.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected() > 0, "{statement}");
}

pub(crate) fn clickhouse(system: &System) -> Client {
    let variable = |key: &str| system.variable(key).expect("a variable");
    let client = Client::default().with_url(variable("MODELHUB_CLICKHOUSE__URL")).with_compression(Compression::None);
    let client = client.with_user(variable("MODELHUB_CLICKHOUSE__USER"));
    let client = client.with_password(variable("MODELHUB_CLICKHOUSE__PASSWORD"));
    client.with_database(variable("MODELHUB_CLICKHOUSE__DATABASE"))
}
