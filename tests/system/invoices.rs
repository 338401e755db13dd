//! Statements and monthly invoices, in both modes: numbers without gaps whoever issues, balances that add up, the same
//! again after a rebuild, and named where somebody changed one.

use std::time::Duration;

use bytes::Bytes;
use eventlog::EventLog;
use http::{Method, StatusCode};
use rust_decimal::Decimal;
use schemas::AccountId;
use serde_json::{Value, json};
use tests::process::Process;
use tokio::time::{Instant, sleep};

use crate::books::{self, append};
use crate::client::Client;
use crate::system::{Stop, System};

const NOON: &str = "T12:00:00.000000Z";

/// A golden event that happened then. None of them stands for something that happens by itself in these months.
async fn put(log: &dyn EventLog, account: AccountId, id: u128, at: &str, make: Make) {
    let (text, event) = make(account, id);
    let (before, rest) = text.split_once("\"time\":\"").expect("a time");
    let (_, after) = rest.split_once('"').expect("a time");
    let at = if at.len() == 10 { format!("{at}{NOON}") } else { at.to_owned() };
    append(log, account, (format!("{before}\"time\":\"{at}\"{after}"), event)).await;
}

type Make = fn(AccountId, u128) -> (String, String);

/// A customer with a key, of a plan without trial credit: nothing has happened to the balance yet.
async fn customer(system: &System, email: &str) -> (AccountId, Client) {
    let opened = system.admin(&["open-account", "--email", email, "--plan", "backpack"]).await;
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let account = text(&opened["account_id"]).parse().expect("an id");
    (account, Client::new(&system.address, &text(&opened["key"]["secret"])))
}

/// Several months of one account, one month of another.
async fn months(system: &System, ann: AccountId, bob: AccountId) {
    let log = books::log(system).await;
    let events: [(AccountId, &str, Make); 9] = [
        (ann, "2024-08-05", books::granted),
        (ann, "2024-08-10", books::used),
        (ann, "2024-08-11", books::used),
        (ann, "2024-08-31T23:59:59.999999Z", books::used),
        (ann, "2024-09-01T00:00:00.000000Z", books::used),
        // Late: it belongs to the month that is open when it arrives.
        (ann, "2024-08-31", books::used),
        (bob, "2024-09-20", books::granted),
        (ann, "2024-10-15", books::used),
        (ann, "2024-12-01", books::used),
    ];
    for (id, (account, at, make)) in (1..).zip(events) {
        put(&*log, account, id, at, make).await;
    }
    system.balance_becomes(&ann.to_string(), "4.999965".parse().expect("an amount")).await;
    system.balance_becomes(&bob.to_string(), "5".parse().expect("an amount")).await;
}

async fn listed(system: &System) -> Vec<Value> {
    system.admin(&["invoices", "list"]).await["invoices"].as_array().expect("invoices").clone()
}

fn number_of(invoices: &[Value], account: AccountId, month: &str) -> u64 {
    let mut found = invoices.iter().filter(|row| row["account_id"] == json!(account) && row["month"] == month);
    let number = found.next().unwrap_or_else(|| panic!("no invoice of {month}: {invoices:#?}"))["number"].as_u64();
    assert!(found.next().is_none(), "two invoices of {month}: {invoices:#?}");
    number.expect("a number")
}

fn usage(requests: u64, amount: &str) -> Value {
    let tokens = json!({"prompt": 10 * requests, "cached_prompt": 0, "completion": 10 * requests, "reasoning": 0});
    json!({
        "type": "usage", "model": "deepseek-v4-flash", "requests": requests, "tokens": tokens, "plan_tokens": 0,
        "amount_usd": amount,
    })
}

async fn body(client: &Client, path: &str) -> String {
    let answer = client.send(Method::GET, path, Bytes::new()).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.body
}

async fn invoices_say_what_happened(ann: &Client, of_ann: AccountId, invoices: &[Value]) {
    let trial = json!({
        "type": "credit", "amount_usd": "5", "time": format!("2024-08-05{NOON}"), "reason": "one-time trial credit",
    });
    for (month, opening, closing, lines) in [
        ("2024-08", "0", "4.999985", vec![usage(3, "-0.000015"), trial]),
        ("2024-09", "4.999985", "4.999975", vec![usage(2, "-0.00001")]),
        ("2024-10", "4.999975", "4.99997", vec![usage(1, "-0.000005")]),
    ] {
        let number = number_of(invoices, of_ann, month);
        let path = format!("/api/invoices/{number}");
        let invoice = ann.get(&path).await;
        assert_eq!((&invoice["opening_usd"], &invoice["closing_usd"]), (&json!(opening), &json!(closing)), "{month}");
        assert_eq!(invoice["lines"], json!(lines), "{month}");
        assert_eq!((&invoice["number"], &invoice["month"]), (&json!(number), &json!(month)));
        let page = body(ann, &format!("{path}?format=html")).await;
        assert!(page.starts_with("<!doctype html>"), "{page}");
        for shown in [format!("Invoice {number}"), month.to_owned(), opening.to_owned(), closing.to_owned()] {
            assert!(page.contains(&shown), "{shown} is not in {page}");
        }
    }
}

async fn nobody_reads_another_s(ann: &Client, bob: &Client, bobs: u64) {
    let mine = bob.get("/api/invoices").await;
    assert_eq!(mine["data"].as_array().expect("invoices").len(), 1);
    assert_eq!(mine["data"][0]["number"], json!(bobs));
    assert_eq!(bob.get(&format!("/api/invoices/{bobs}")).await["closing_usd"], "5");
    for (number, format) in
        [(bobs.to_string(), "json"), (bobs.to_string(), "html"), ("99".into(), "json"), ("x".into(), "json")]
    {
        let path = format!("/api/invoices/{number}?format={format}");
        let answer = ann.send(Method::GET, &path, Bytes::new()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (404, &json!("invoice_not_found")),
            "{path}"
        );
    }
    let whose =
        ann.send(Method::GET, "/api/invoices?account_id=01890a5d-ac96-774b-bcce-b302099a8057", Bytes::new()).await;
    assert_eq!(whose.status.as_u16(), 400, "the account is the key's: {}", whose.body);
    let stranger = Client::new(ann.base.trim_start_matches("http://"), "mh-sk-unknown");
    for path in ["/api/statement", "/api/invoices", &format!("/api/invoices/{bobs}")] {
        assert_eq!(stranger.send(Method::GET, path, Bytes::new()).await.status.as_u16(), 401, "{path}");
    }
}

/// The range of a month has that month's balances, page by page.
async fn statements_add_up(ann: &Client) {
    let range = "from=2024-09-01T00:00:00Z&to=2024-10-01T00:00:00Z";
    let (mut entries, mut next, mut closing) = (vec![], String::new(), json!("4.999985"));
    loop {
        let page = ann.get(&format!("/api/statement?{range}&limit=1{next}")).await;
        assert_eq!(page["opening_usd"], closing, "{page}");
        closing = page["closing_usd"].clone();
        entries.extend(page["entries"].as_array().expect("entries").clone());
        match page["next"].as_u64() {
            Some(after) => next = format!("&after={after}"),
            None => break,
        }
    }
    let balances: Vec<_> = entries.iter().map(|entry| entry["balance_usd"].as_str().expect("an amount")).collect();
    assert_eq!((balances, closing), (vec!["4.99998", "4.999975"], json!("4.999975")));
    let whole = ann.get("/api/statement").await;
    assert_eq!((whole["opening_usd"].as_str(), whole["entries"].as_array().map(Vec::len)), (Some("0"), Some(9)));
    for bad in ["limit=0", "limit=1001", "from=yesterday", "account_id=1"] {
        let answer = ann.send(Method::GET, &format!("/api/statement?{bad}"), Bytes::new()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (400, &json!("invalid_request")),
            "{bad}"
        );
    }
}

/// Another ledger process, where the mode has one: it issues by itself what is due when it starts.
fn second_issuer(system: &System) -> Option<Process> {
    system.variable("MODELHUB_KAFKA__BROKERS")?;
    let listen = format!("127.0.0.1:{}", tests::port());
    let mut command = system.command();
    command.arg("ledger").env("MODELHUB_INVOICES__AUTOMATIC", "true").env("MODELHUB_LEDGER__LISTEN", listen);
    Some(Process::start(&command))
}

async fn are_issued_and_kept(system: System) {
    let ((of_ann, ann), (of_bob, bob)) =
        (customer(&system, "ann@example.com").await, customer(&system, "bob@example.com").await);
    months(&system, of_ann, of_bob).await;
    // Of this month, which is not over: on no invoice.
    let request = json!({"model": "qwen-turbo", "messages": [{"role": "user", "content": "hello"}]});
    let charged = ann.complete(&request).await.cost;
    let left = Decimal::from_str_exact("4.999965").expect("an amount") - charged;
    system.balance_becomes(&of_ann.to_string(), left).await;
    let early = system.try_admin(&["invoices", "issue", "--month", "9999-11"]).await.expect_err("it is not over");
    assert!(early.contains("9999-11 is not over yet"), "{early}");

    let second = second_issuer(&system);
    let issue = async |month| system.admin(&["invoices", "issue", "--month", month]).await;
    tokio::join!(issue("2024-10"), issue("2024-09"), issue("2024-12"));
    if let Some(second) = &second {
        second.line("invoices are issued").await;
    }
    let invoices = listed(&system).await;
    let numbers: Vec<_> = invoices.iter().map(|invoice| invoice["number"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(issue("2024-12").await["issued"], 0, "nothing is due twice");

    invoices_say_what_happened(&ann, of_ann, &invoices).await;
    nobody_reads_another_s(&ann, &bob, number_of(&invoices, of_bob, "2024-09")).await;
    statements_add_up(&ann).await;
    let last = number_of(&invoices, of_ann, "2024-12");
    let shown = system.admin(&["invoices", "show", &last.to_string()]).await;
    assert_eq!(shown["closing_usd"], "4.999965");
    let missing = system.try_admin(&["invoices", "show", "6"]).await.expect_err("no invoice");
    assert!(missing.contains("no invoice 6"), "{missing}");

    let report = books::applied(&system).await;
    assert_eq!(report["sections"]["invoices"], json!({"compared": 5, "differences": 0}));
    let before = contents(&ann).await;
    if let Some(second) = second {
        assert_eq!(second.terminate().await, 0, "{}", second.stderr());
    }
    system.stop(Stop::Terminate).await;
    let rows = dump(&system).await;
    assert_eq!(rows.iter().filter(|row| row.starts_with("invoices: ")).count(), 5);
    changes_are_named(&system, last, of_ann).await;

    assert_eq!(system.run(&["rebuild", "ledger"]).await.code, 0);
    assert_eq!(dump(&system).await, rows);
    system.start_again().await;
    let ann = Client::new(&system.address, &ann.key);
    assert_eq!(contents(&ann).await, before);
}

/// Each of ann's invoices and the list, as bytes.
async fn contents(ann: &Client) -> Vec<String> {
    let list = body(ann, "/api/invoices").await;
    let mut contents = vec![list.clone()];
    let list: Value = serde_json::from_str(&list).expect("JSON");
    for invoice in list["data"].as_array().expect("invoices") {
        let path = format!("/api/invoices/{}", invoice["number"]);
        contents.push(body(ann, &path).await);
        contents.push(body(ann, &format!("{path}?format=html")).await);
    }
    contents
}

async fn dump(system: &System) -> Vec<String> {
    match system.variable("MODELHUB_POSTGRES__URL") {
        Some(_) => books::postgres_dump(&books::postgres(system).await).await,
        None => books::sqlite_dump(&system.data_dir().join("ledger.sqlite")).await,
    }
}

async fn tamper(system: &System, statement: &str) {
    match system.variable("MODELHUB_POSTGRES__URL") {
        Some(_) => books::postgres_tamper(&books::postgres(system).await, statement).await,
        None => books::tamper(&system.data_dir().join("ledger.sqlite"), statement).await,
    }
}

/// An audit names the invoice whose row was changed, dropped or made up.
async fn changes_are_named(system: &System, last: u64, account: AccountId) {
    for (change, back) in [
        ("month = '2025-01'", "month = '2024-12'"),
        ("through_offset = through_offset + 1", "through_offset = through_offset - 1"),
        ("issued_at = issued_at + 1", "issued_at = issued_at - 1"),
        ("number = 77", "number = NUMBER"),
    ] {
        tamper(system, &format!("UPDATE invoices SET {change} WHERE number = {last}")).await;
        let audit = system.run(&["audit", "--json"]).await;
        assert_eq!(audit.code, 1, "{change}: {audit:?}");
        let report = audit.json();
        assert_eq!(report["sections"]["invoices"]["differences"], 1, "{change}: {report:#}");
        let first = &report["first"];
        assert_eq!(
            (&first["what"], &first["account"]),
            (&json!("the invoice"), &json!(account)),
            "{change}: {report:#}"
        );
        let now = if change.starts_with("number") { 77 } else { last };
        let back = back.replace("NUMBER", &last.to_string());
        tamper(system, &format!("UPDATE invoices SET {back} WHERE number = {now}")).await;
    }
    assert_eq!(system.run(&["audit"]).await.code, 0);
    tamper(system, &format!("DELETE FROM invoices WHERE number = {last}")).await;
    let report = system.run(&["audit", "--json"]).await.json();
    assert_eq!(report["first"]["database"], "nothing of it", "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_invoices() {
    are_issued_and_kept(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_invoices() {
    are_issued_and_kept(System::distributed().await).await;
}

/// `serve` issues what is due when it starts, and then once a month.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_issues_by_itself() {
    let system = System::embedded().await;
    let ((ann, _), (bob, _)) = (customer(&system, "ann@example.com").await, customer(&system, "bob@example.com").await);
    months(&system, ann, bob).await;
    assert_eq!(listed(&system).await, Vec::<Value>::new());
    system.stop(Stop::Terminate).await;
    let mut command = system.command();
    let server = Process::start(command.arg("serve").env("MODELHUB_INVOICES__AUTOMATIC", "true"));
    server.answers(&system.address, "/readyz").await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while listed(&system).await.len() < 5 {
        assert!(Instant::now() < deadline, "{}{}", server.stdout(), server.stderr());
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(listed(&system).await.len(), 5);
}
