//! The race for the last cent: several gateways, many clients, one account with very little, and an upstream that ignores
//! `max_tokens`. Nobody overspends it, and it is used up before anybody is refused.
//!
//! `MODELHUB_TEST_RACE_CLIENTS` is how many clients there are (48 unless told).

mod counters;
mod greedy;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::json;
use sqlx::query_as;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::books;
use crate::client::Client;
use crate::system::{Stop, System, decimal};

/// What the account has.
const CENT: &str = "0.01";
const MODELS: [&str; 3] = ["small", "middle", "large"];
const LEASE_TTL: Duration = Duration::from_secs(3);

fn configuration(base_url: &str) -> String {
    let models: String = [("small", "0.05", "0.1"), ("middle", "0.1", "0.2"), ("large", "0.2", "0.3")]
        .map(|(id, input, output)| {
            format!(
                "[[models]]\nid = \"{id}\"\nupstream = \"greedy\"\nupstream_model = \"um\"\ncontext_tokens = 4096\n\
                 max_output_tokens = 1000\nprice = {{ input = \"{input}\", cached_input = \"0.01\", output = \"{output}\" }}\n"
            )
        })
        .concat();
    let ttl = LEASE_TTL.as_millis();
    format!("[leases]\nttl_ms = {ttl}\n\n[[upstreams]]\nname = \"greedy\"\nbase_url = \"{base_url}\"\n\n{models}")
}

/// A sequence that a seed repeats (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).expect("below a usize")
    }
}

/// What one client saw.
#[derive(Default)]
struct Log {
    /// Whole answers: when each was asked for, and what it cost.
    answers: Vec<(Instant, Decimal)>,
    refused_at: Option<Instant>,
    /// Connections that broke, and answers that were withheld.
    broken: usize,
}

/// Asks until it is refused for want of money.
async fn client(clients: Vec<Client>, mut random: Random, patience: Instant) -> Log {
    let mut log = Log::default();
    while Instant::now() < patience {
        let client = &clients[random.below(clients.len())];
        let mut body = json!({
            "model": MODELS[random.below(3)],
            "messages": [{"role": "user", "content": "hi ".repeat(1 + random.below(3))}],
        });
        if random.below(3) > 0 {
            body["max_tokens"] = json!(1 + random.below(500));
        }
        if random.below(2) > 0 {
            body["stream"] = json!(true);
            body["stream_options"] = json!({"include_usage": true});
        }
        let asked = Instant::now();
        match client.try_send(Method::POST, "/v1/chat/completions", body.to_string()).await {
            Some(answer) if answer.status == StatusCode::OK && !answer.body.contains("\"error\"") => {
                log.answers.push((asked, answer.charge().cost));
            }
            Some(answer) if answer.status == StatusCode::PAYMENT_REQUIRED => {
                log.refused_at = Some(Instant::now());
                break;
            }
            Some(answer) if answer.status == StatusCode::OK || answer.status.is_server_error() => log.broken += 1,
            Some(answer) => panic!("{}: {}", answer.status, answer.body),
            None => {
                log.broken += 1;
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    log
}

/// An account with one cent, and its clients at the addresses of all gateways.
async fn poor_account(system: &System, addresses: &[&str]) -> (String, Vec<Client>) {
    let (account, owner) = system.open_account("poor@example.com").await;
    system.admin(&["adjust", "--account", &account, "--take", "4.99", "--reason", "race"]).await;
    system.balance_becomes(&account, CENT.parse().unwrap()).await;
    let clients = addresses.iter().map(|address| Client::new(address, &owner.key)).collect();
    (account, clients)
}

/// What the account's leases still reserve.
async fn reserved(system: &System) -> Vec<(Decimal, i64)> {
    let pool = books::postgres(system).await;
    let funds = query_as("SELECT reserved_usd, reserved_tokens FROM funds").fetch_all(&pool).await.expect("funds");
    pool.close().await;
    funds
}

pub(crate) async fn nothing_is_stranded(system: &System) {
    // A lease that is not used is closed after 5 s, whatever its time to live.
    let deadline = Instant::now() + LEASE_TTL + Duration::from_secs(10);
    loop {
        let reserved = reserved(system).await;
        if reserved.iter().all(|(usd, tokens)| usd.is_zero() && *tokens == 0) {
            return;
        }
        assert!(Instant::now() < deadline, "{reserved:?} is reserved");
        sleep(Duration::from_millis(100)).await;
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |value| value.parse().expect(variable))
}

async fn race(seed: u64, clients: &[Client], how_many: usize, patience: Duration) -> Vec<Log> {
    let patience = Instant::now() + patience;
    let mut running = JoinSet::new();
    for index in 0..how_many as u64 {
        running.spawn(client(clients.to_vec(), Random(seed * 10_000 + index), patience));
    }
    running.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_cent_is_spent_once() {
    let kafka = tests::kafka::cluster().await;
    let system = System::distributed_on(kafka, &configuration(&greedy::upstream().await), &[]).await;
    let others = [system.another_gateway().await, system.another_gateway().await, system.another_gateway().await];
    let addresses: Vec<&str> =
        [system.address.as_str()].into_iter().chain(others.iter().map(|other| other.address.as_str())).collect();
    let (account, clients) = poor_account(&system, &addresses).await;
    let raced = Raced::run(&clients).await;
    println!("{}", raced.told);

    let cent: Decimal = CENT.parse().unwrap();
    assert!(raced.spent <= cent, "{} of {cent} was spent", raced.spent);
    assert!(percent(raced.before) >= Decimal::new(999, 1), "{} was used before the first refusal", raced.before);
    // The ledger says the same, to the last digit.
    system.balance_becomes(&account, cent - raced.spent).await;
    nothing_is_stranded(&system).await;
    assert_eq!(debt(&system, &account).await, Decimal::ZERO);
    books::applied(&system).await;
    assert_eq!(system.run(&["audit"]).await.code, 0);
    drop(others);
}

/// What the same race comes to where each gateway counts for itself from the balance that it read, as most do: this harness sees an
/// overspend where there is one.
#[tokio::test(flavor = "multi_thread")]
async fn counters_in_each_process_overspend() {
    let kafka = tests::kafka::cluster().await;
    let system = System::distributed_on(kafka, &configuration(&greedy::upstream().await), &[]).await;
    let counters = counters::instead_of_leases(system.variable("MODELHUB_LEDGER__URL").expect("a ledger")).await;
    let mut gateways = Vec::new();
    for _ in 0..4 {
        gateways.push(system.another_gateway_with(&[("MODELHUB_LEDGER__URL", &counters)]).await);
    }
    let addresses: Vec<&str> = gateways.iter().map(|gateway| gateway.address.as_str()).collect();
    let (account, clients) = poor_account(&system, &addresses).await;
    let raced = Raced::run(&clients).await;
    println!("{}", raced.told);

    let cent: Decimal = CENT.parse().unwrap();
    assert!(raced.spent > cent, "{} of {cent} was spent", raced.spent);
    // The ledger charges all of it, and what nothing was set aside for is a debt.
    system.balance_becomes(&account, cent - raced.spent).await;
    assert_eq!(debt(&system, &account).await, raced.spent - cent);
    books::applied(&system).await;
    assert_eq!(system.run(&["audit"]).await.code, 0);
}

async fn debt(system: &System, account: &str) -> Decimal {
    decimal(&system.admin(&["balance", "--account", account]).await["debt_usd"])
}

fn percent(amount: Decimal) -> Decimal {
    let cent: Decimal = CENT.parse().unwrap();
    (amount / cent * Decimal::from(100)).round_dp(3)
}

/// What came of a race in which every client was refused in the end.
struct Raced {
    spent: Decimal,
    /// Of that, what was asked for before the first refusal.
    before: Decimal,
    told: String,
}

impl Raced {
    async fn run(clients: &[Client]) -> Self {
        let how_many = number("MODELHUB_TEST_RACE_CLIENTS", 48);
        let begun = Instant::now();
        let logs = race(1, clients, how_many, Duration::from_mins(5)).await;
        let took = begun.elapsed();
        let answers = || logs.iter().flat_map(|log| &log.answers);
        assert!(logs.iter().all(|log| log.refused_at.is_some() && log.broken == 0), "somebody was not refused");
        let first_refusal = logs.iter().filter_map(|log| log.refused_at).min().expect("a refusal");
        let spent = answers().map(|(_, cost)| *cost).sum();
        let before = answers().filter(|(asked, _)| *asked < first_refusal).map(|(_, cost)| *cost).sum();
        let told = format!(
            "race: {how_many} clients, 4 gateways, {} answers in {took:.1?}; spent {spent} of {CENT} ({} %), {} % asked \
             for before the first refusal",
            answers().count(),
            percent(spent),
            percent(before),
        );
        Self { spent, before, told }
    }
}

/// The same while gateways are killed and stand still for longer than their leases live, and the ledger's store is rebuilt.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_cent_is_spent_once_whatever_dies() {
    let kafka = tests::kafka::cluster().await;
    let system = System::distributed_on(kafka, &configuration(&greedy::upstream().await), &[]).await;
    let others = Arc::new([system.another_gateway().await, system.another_gateway().await]);
    let addresses: Vec<&str> =
        [system.address.as_str()].into_iter().chain(others.iter().map(|other| other.address.as_str())).collect();
    let (account, clients) = poor_account(&system, &addresses).await;
    let how_many = number("MODELHUB_TEST_RACE_CLIENTS", 48) / 2;
    let racing = {
        let clients = clients.clone();
        tokio::spawn(async move { race(2, &clients, how_many, Duration::from_mins(2)).await })
    };
    sleep(Duration::from_millis(300)).await;
    for (round, gateway) in others.iter().enumerate() {
        gateway.process.kill9().await;
        gateway.process.start_again();
        gateway.process.answers(&gateway.address, "/readyz").await;
        let stopped = &others[1 - round].process;
        stopped.pause();
        sleep(LEASE_TTL + Duration::from_secs(1)).await;
        stopped.resume();
    }
    assert_eq!(system.service("ledger").terminate().await, 0);
    let rebuilt = system.run(&["rebuild", "ledger"]).await;
    assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
    system.start_service_again("ledger").await;
    let logs = racing.await.expect("a race");

    let cent: Decimal = CENT.parse().unwrap();
    let seen: Decimal = logs.iter().flat_map(|log| &log.answers).map(|(_, cost)| *cost).sum();
    let broken: usize = logs.iter().map(|log| log.broken).sum();
    nothing_is_stranded(&system).await;
    let balance = system.admin(&["balance", "--account", &account]).await;
    println!(
        "race: clients saw {seen} of {cent} spent, {broken} answers broke off; the balance is {}",
        balance["balance_usd"]
    );
    let left = decimal(&balance["balance_usd"]);
    assert!(left >= Decimal::ZERO && decimal(&balance["debt_usd"]).is_zero(), "{balance}");
    // What a client saw whole is charged; what broke off may be.
    assert!(cent - left >= seen, "{balance} after {seen}");
    // And what is left can be spent.
    let again = race(3, &clients[..1], 4, Duration::from_mins(1)).await;
    assert!(again.iter().all(|log| log.refused_at.is_some()));
    books::applied(&system).await;
    system.stop(Stop::Terminate).await;
    assert_eq!(system.run(&["audit"]).await.code, 0);
}
