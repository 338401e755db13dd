//! What operators and payment processors do to accounts, through the command line, in both modes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use rust_decimal::Decimal;
use schemas::catalogue::PlanTerms;
use schemas::event::{BillingAnchor, Period, SubscriptionStartedV1};
use schemas::{AccountId, Event, EventData, EventId, LotId, SubscriptionId, Timestamp, Usd};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::books;
use crate::client::Client;
use crate::system::{System, decimal};
use crate::upstream::{Piece, Script, Upstream};

fn hello() -> Value {
    json!({"model": "deepseek-v4-flash", "messages": [{"role": "user", "content": "hello"}]})
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Runs a command on an account; what it changed the balance by.
async fn change(system: &System, account: &str, arguments: &[&str]) -> Decimal {
    let done = system.admin(&[&arguments[..1], &["--account", account], &arguments[1..]].concat()).await;
    decimal(&done["amount_usd"])
}

async fn status(client: &Client) -> StatusCode {
    client.send(http::Method::POST, "/v1/chat/completions", hello().to_string()).await.status
}

/// The status that requests get within a second from when a command returned.
async fn within_a_second(client: &Client, expected: StatusCode) {
    let returned = Instant::now();
    loop {
        let asked = returned.elapsed();
        let found = status(client).await;
        if found == expected {
            return;
        }
        // What a request was asked after a second counts, however long the answer took.
        assert!(asked <= Duration::from_secs(1), "{found} after {asked:?}, not {expected}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn access_ends_within_a_second(system: System) {
    let (account, client) = system.open_account("owner@example.com").await;
    let issued = system.admin(&["issue-key", "--account", &account, "--name", "ci"]).await;
    let second = Client::new(&system.address, &text(&issued["secret"]));
    assert_eq!((status(&client).await, status(&second).await), (StatusCode::OK, StatusCode::OK));
    let key = text(&issued["key_id"]);
    change(&system, &account, &["update-key", "--key", &key, "--name", "laptop"]).await;
    let keys = system.admin(&["list-keys", "--account", &account]).await;
    let names: Vec<_> = keys.as_array().unwrap().iter().map(|key| text(&key["name"])).collect();
    assert_eq!(names, ["default", "laptop"]);

    for _ in 0..2 {
        change(&system, &account, &["revoke-key", "--key", &key]).await;
        within_a_second(&second, StatusCode::UNAUTHORIZED).await;
    }
    assert_eq!(status(&client).await, StatusCode::OK, "the other key goes on");
    change(&system, &account, &["suspend", "--reason", "r"]).await;
    within_a_second(&client, StatusCode::FORBIDDEN).await;
    change(&system, &account, &["reinstate", "--reason", "r"]).await;
    within_a_second(&client, StatusCode::OK).await;
    change(&system, &account, &["close-account", "--reason", "r"]).await;
    within_a_second(&client, StatusCode::UNAUTHORIZED).await;
    let refused = system.try_admin(&["suspend", "--account", &account, "--reason", "r"]).await.unwrap_err();
    assert!(refused.contains("account: is closed for good"), "{refused}");
}

/// Sums over a statement's entries of usage: requests, prompt, completion, charged.
type Sums = (u64, i64, i64, Decimal);

fn of_statement(statement: &Value) -> Sums {
    let mut sums = Sums::default();
    for entry in statement["entries"].as_array().unwrap() {
        let detail = &entry["detail"];
        let count = |counts: &Value, name: &str| counts[name].as_i64().unwrap();
        let [prompt, completion] = match detail["type"].as_str().unwrap() {
            "usage.recorded" => {
                sums.0 += 1;
                ["prompt", "completion"].map(|name| count(&detail["tokens"], name))
            }
            "usage.corrected" => ["prompt", "completion"]
                .map(|name| count(&detail["after"]["tokens"], name) - count(&detail["before"]["tokens"], name)),
            _ => continue,
        };
        sums.1 += prompt;
        sums.2 += completion;
        sums.3 -= decimal(&entry["amount_usd"]);
    }
    sums
}

fn of_statistics(usage: &Value) -> Sums {
    let mut sums = Sums::default();
    for row in usage["data"].as_array().unwrap() {
        let count = |name: &str| row[name].as_i64().unwrap();
        sums.0 += u64::try_from(count("requests")).unwrap();
        sums.1 += count("prompt_tokens");
        sums.2 += count("completion_tokens");
        sums.3 += decimal(&row["cost_usd"]);
    }
    sums
}

/// Statistics come to what the statement says, in whatever way they are asked for, once `requests` are posted.
async fn statistics_agree(system: &System, account: &str, client: &Client, requests: u64) -> Sums {
    let deadline = Instant::now() + Duration::from_mins(1);
    let expected = loop {
        let sums = of_statement(&system.admin(&["statement", "--account", account]).await);
        if sums.0 == requests {
            break sums;
        }
        assert!(Instant::now() < deadline, "{sums:?} are posted, not {requests}");
        sleep(Duration::from_millis(50)).await;
    };
    for query in ["", "?group_by=model", "?group_by=key&bucket=hour", "?bucket=day"] {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let found = of_statistics(&client.get(&format!("/api/usage{query}")).await);
            if found == expected {
                break;
            }
            assert!(Instant::now() < deadline, "{query}: {found:?} is not {expected:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
    expected
}

/// A plan covers some requests, one of them in part; a charge is put right twice; and every number is the statement's.
async fn statistics_are_what_was_charged(system: System) {
    let (account, client) = system.open_account("owner@example.com").await;
    for _ in 0..3 {
        client.complete(&hello()).await;
    }
    let (_, _, _, charged) = statistics_agree(&system, &account, &client, 3).await;
    assert!(charged > Decimal::ZERO, "{charged}");

    let pay = ["record-payment", "--processor", "stripe", "--payment", "p1", "--amount", "40.00", "--fee", "1.46"];
    for _ in 0..2 {
        assert_eq!(change(&system, &account, &pay).await, Decimal::from(40));
    }
    let subscribe = ["subscribe", "--plan", "backpack", "--processor", "stripe", "--payment", "p1"];
    let subscribe = [&subscribe[..], &["--idempotency-key", "s"]].concat();
    for _ in 0..2 {
        assert_eq!(change(&system, &account, &subscribe).await, Decimal::from(-15));
    }
    // Every gateway knows of the plan within a second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    client.complete(&hello()).await;
    let (_, _, _, still) = statistics_agree(&system, &account, &client, 4).await;
    assert_eq!(still, charged, "the plan covers it");

    let statement = system.admin(&["statement", "--account", &account]).await;
    let used =
        statement["entries"].as_array().unwrap().iter().find(|entry| entry["detail"]["type"] == "usage.recorded");
    let event = text(&used.unwrap()["event_id"]);
    let correct = |completion: &'static str| {
        let event = event.clone();
        let (system, account) = (&system, &account);
        async move {
            let correct = ["correct-usage", "--event", &event, "--completion-tokens", completion, "--reason", "r"];
            change(system, account, &correct).await
        }
    };
    assert!(correct("1").await > Decimal::ZERO);
    assert_eq!(correct("1").await, Decimal::ZERO, "it is so already");
    let (_, _, _, less) = statistics_agree(&system, &account, &client, 4).await;
    assert!(less < charged, "{less} {charged}");
    // What is missing is taken from the plan, which covers the prompt first: of two and one tokens, three of the completion
    // are left to pay.
    let dearer = Decimal::new(2, 7);
    assert_eq!(correct("500").await, -dearer);
    let (_, _, completion, more) = statistics_agree(&system, &account, &client, 4).await;
    assert!(completion >= 500 && more == less + dearer, "{completion} {more}");
    assert_eq!(
        change(&system, &account, &["cancel-subscription", "--when", "now", "--reason", "r"]).await,
        Decimal::ZERO
    );
    client.complete(&hello()).await;
    statistics_agree(&system, &account, &client, 5).await;
    books::applied(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_access_ends_within_a_second() {
    access_ends_within_a_second(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_access_ends_within_a_second() {
    access_ends_within_a_second(System::distributed().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_statistics_are_what_was_charged() {
    statistics_are_what_was_charged(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_statistics_are_what_was_charged() {
    statistics_are_what_was_charged(System::distributed().await).await;
}

/// Money comes and goes as a processor says, and credit as an operator does; on a resting data folder as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_processors_notices_are_recorded() {
    let system = System::embedded().await;
    let (account, _) = system.open_account("owner@example.com").await;
    let check = async |arguments: &str, amount: &str, balance: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        assert_eq!(change(&system, &account, &arguments).await.to_string(), amount, "{arguments:?}");
        assert_eq!(system.balance(&account).await.to_string(), balance, "{arguments:?}");
    };
    check("record-payment --processor stripe --payment p1 --amount 20", "20", "25").await;
    check("refund --processor stripe --payment p1 --refund r1 --amount 5.00 --reason r", "-5", "20").await;
    let dispute = "dispute --processor stripe --payment p1 --dispute d1 --amount 10 --fee 15 --suspend --reason fraud";
    check(dispute, "-10", "10").await;
    check("close-dispute --processor stripe --dispute d1 --outcome won --reinstate", "10", "20").await;
    check("adjust --give 1.5 --reason r --idempotency-key a", "1.5", "21.5").await;
    check("adjust --give 1.5 --reason r --idempotency-key a", "1.5", "21.5").await;
    check("adjust --take 0.5 --reason r", "-0.5", "21").await;
    check("subscribe --plan backpack", "-15", "6").await;
    check("change-plan --plan launch --when period-end", "0", "6").await;
    system.stop(crate::system::Stop::Terminate).await;
    check("cancel-subscription --reason r", "0", "6").await;
    let refused = system.try_admin(&["adjust", "--account", &account, "--reason", "r"]).await.unwrap_err();
    assert!(refused.contains("--give <AMOUNT>|--take <AMOUNT>|--expire <LOT>"), "{refused}");
    assert_eq!(system.run(&["audit"]).await.code, 0);
}

/// A subscription whose first period ended an hour ago, written into the log by an earlier ledger, as it were.
fn begun_a_month_ago(account: AccountId) -> Event {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let end = i64::try_from(micros).unwrap() - 3_600_000_000;
    let start = Timestamp::from_micros(end - 30 * 24 * 3_600_000_000);
    let plan = PlanTerms {
        id: "backpack".to_owned(),
        price_usd: "15".parse().unwrap(),
        tokens_per_month: 100_000_000,
        rollover_tokens: 100_000_000,
        requests_per_minute: 100,
        max_in_flight: 20,
        max_keys: Some(10),
        trial_credit_usd: Usd::ZERO,
    };
    let data = SubscriptionStartedV1 {
        subscription_id: SubscriptionId(account.derive("subscription")),
        plan,
        period: Period { start, end: Timestamp::from_micros(end) },
        // Months are counted from the end of that period, so the next one is a whole month.
        anchor: BillingAnchor { at: Timestamp::from_micros(end), utc_offset_minutes: 0 },
        token_lot_id: LotId(account.derive("lot")),
        payment_id: None,
    };
    let id = EventId(account.derive("started"));
    let data = EventData::SubscriptionStarted(Box::new(data));
    Event { id, source: "/test".to_owned(), subject: account, time: start, data }
}

/// Nobody asks for it: a running ledger renews what is over, once, and a restart changes nothing.
async fn periods_that_are_over_are_renewed(system: System) {
    let (account, _) = system.open_account("owner@example.com").await;
    change(&system, &account, &["record-payment", "--processor", "stripe", "--payment", "p1", "--amount", "40"]).await;
    let event = begun_a_month_ago(account.parse().unwrap());
    let record = (String::from_utf8(event.encode().unwrap()).unwrap(), event.id.to_string());
    books::append(&*books::log(&system).await, event.subject, record).await;
    system.balance_becomes(&account, Decimal::from(15)).await;
    system.restart(crate::system::Stop::Kill9).await;
    // Longer than between two looks.
    sleep(Duration::from_secs(6)).await;
    let statement = system.admin(&["statement", "--account", &account]).await;
    let entries = statement["entries"].as_array().unwrap().iter();
    let plans = entries.filter(|entry| entry["detail"]["type"] == "subscription");
    let kinds: Vec<_> = plans.map(|entry| (text(&entry["detail"]["kind"]), text(&entry["amount_usd"]))).collect();
    let expected = [("started", "-15"), ("renewed", "-15")].map(|(kind, amount)| (kind.to_owned(), amount.to_owned()));
    assert_eq!(kinds, expected);
    let balance = system.admin(&["balance", "--account", &account]).await;
    let lots = balance["token_lots"].as_array().unwrap().iter();
    let lots: Vec<_> = lots.map(|lot| (lot["remaining"].as_u64(), lot["rolled_over"].as_bool())).collect();
    assert_eq!(lots, [(Some(100_000_000), Some(true)), (Some(100_000_000), Some(false))]);
    books::applied(&system).await;
}

/// A request is under way that may cost more than what the renewal would leave. It is charged all of it, and nothing is owed.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_takes_nothing_that_a_running_request_may_cost() {
    let (upstream, base_url) = Upstream::start().await;
    // A dollar a token of output: ten of them are held.
    let system = System::embedded_with(&format!(
        "[[upstreams]]\nname = \"u\"\nbase_url = \"{base_url}\"\n\n[[models]]\nid = \"m\"\nupstream = \"u\"\n\
         context_tokens = 1000\nmax_output_tokens = 10\n\
         price = {{ input = \"1\", cached_input = \"1\", output = \"1000000\" }}\n"
    ))
    .await;
    let (account, client) = system.open_account("owner@example.com").await;
    change(&system, &account, &["record-payment", "--processor", "stripe", "--payment", "p1", "--amount", "30"]).await;
    let answer = r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"a b c d e f g h i j"},
        "finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":10}}"#;
    let mut script = Script::json(200, answer);
    // Two looks at what is due, at least.
    script.pieces.insert(0, Piece::Wait(Duration::from_secs(12)));
    upstream.next(script);
    let request = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let running = tokio::spawn(async move { client.send(http::Method::POST, "/v1/chat/completions", request).await });
    let deadline = Instant::now() + Duration::from_secs(30);
    while upstream.requests() == 0 {
        assert!(Instant::now() < deadline, "the request did not go out");
        sleep(Duration::from_millis(20)).await;
    }
    let event = begun_a_month_ago(account.parse().unwrap());
    let record = (String::from_utf8(event.encode().unwrap()).unwrap(), event.id.to_string());
    books::append(&*books::log(&system).await, event.subject, record).await;
    // 20 USD are left. 15 of them are due, and 10 may be charged for the request.
    system.balance_becomes(&account, Decimal::from(20)).await;
    assert_eq!(running.await.unwrap().status, StatusCode::OK);
    system.balance_becomes(&account, Decimal::from(10)).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let now = system.admin(&["balance", "--account", &account]).await;
        assert_eq!((text(&now["balance_usd"]), text(&now["debt_usd"])), ("10".to_owned(), "0".to_owned()), "{now}");
        if now["subscription"]["standing"].to_string().contains("past_due") {
            break;
        }
        assert!(Instant::now() < deadline, "{now}");
        sleep(Duration::from_millis(100)).await;
    }
    books::applied(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_periods_that_are_over_are_renewed() {
    periods_that_are_over_are_renewed(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_periods_that_are_over_are_renewed() {
    periods_that_are_over_are_renewed(System::distributed().await).await;
}
