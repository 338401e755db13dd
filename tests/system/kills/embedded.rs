//! `modelhub serve`, killed while it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::json;
use tokio::time::sleep;

use super::SEED;
use super::producer::Random;
use crate::books;
use crate::client::{Charge, Client};
use crate::system::{Stop, System, decimal};

const KILLS: u64 = 4;
/// Clients that ask at once.
const CLIENTS: u64 = 4;

/// What a request took, by what can be seen of it: prompt, completion, cost.
type Seen = BTreeMap<(u64, u64, Decimal), i64>;

/// Asks again and again, until nobody answers any more. Gives what was charged in whole answers.
async fn ask(client: Client, mut random: Random) -> Vec<Charge> {
    let mut charges = Vec::new();
    loop {
        let words = "word ".repeat(usize::try_from(random.below(60)).unwrap() + 1);
        let request = json!({"model": "deepseek-v4-flash", "messages": [{"role": "user", "content": words}]});
        let answer = client.try_send(Method::POST, "/v1/chat/completions", request.to_string()).await;
        let Some(answer) = answer else { return charges };
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        charges.push(answer.charge());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_system_killed_under_load_forgets_no_answer() {
    let system = System::embedded().await;
    let (account, client) = system.open_account("owner@example.com").await;
    let mut random = Random(SEED);
    let mut answered = Seen::new();
    for _ in 0..KILLS {
        let clients = (0..CLIENTS).map(|_| {
            let client = Client::new(&system.address, &client.key);
            tokio::spawn(ask(client, Random(random.below(u64::MAX))))
        });
        let clients: Vec<_> = clients.collect();
        sleep(Duration::from_millis(300 + random.below(700))).await;
        system.stop(Stop::Kill9).await;
        for client in clients {
            for charge in client.await.unwrap() {
                *answered.entry((charge.prompt, charge.completion, charge.cost)).or_default() += 1;
            }
        }
        system.start_again().await;
        books::applied(&system).await;
    }
    assert!(answered.values().sum::<i64>() > 0, "nobody was answered");

    let statement = system.admin(&["statement", "--account", &account]).await;
    let mut balance = Decimal::ZERO;
    for entry in statement["entries"].as_array().unwrap() {
        balance += decimal(&entry["amount_usd"]);
        assert_eq!(decimal(&entry["balance_usd"]), balance, "{entry}");
        if entry["detail"]["type"] == "usage.recorded" {
            let tokens = |name: &str| entry["detail"]["tokens"][name].as_u64().unwrap();
            let seen = (tokens("prompt"), tokens("completion"), -decimal(&entry["amount_usd"]));
            *answered.entry(seen).or_default() -= 1;
        }
    }
    // What was charged and not answered is at most what ran at the kills.
    assert!(answered.values().all(|missing| *missing <= 0), "answered, and not charged: {answered:?}");
    let unanswered = -answered.values().sum::<i64>();
    assert!(unanswered <= (KILLS * CLIENTS).cast_signed(), "{unanswered} were charged and never answered");
    assert_eq!(system.balance(&account).await, balance);
}
