//! Processes that are killed, or stand still, at any moment: no event is lost, none counts twice, and the log gives
//! everything again.

mod embedded;
mod facts;
mod group;
mod model;
mod producer;
mod rebuild;
mod zombie;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep};

use self::group::Group;
use self::producer::{Producer, Random};
use crate::books;

/// How many kills, where `MODELHUB_TEST_KILLS` does not say.
const KILLS: u64 = 6;
/// Where the random numbers begin, where `MODELHUB_TEST_SEED` does not say.
const SEED: u64 = 20_261_122;

/// Records appended together, and the pause after them.
const BURST: (usize, Duration) = (12, Duration::from_millis(50));
/// Bursts for each kill, so that the log has an end and its audits are quick.
const BURSTS: usize = 10;
/// A kill comes at most so long after everything is back to work, and the bursts began.
const MOST_WAIT_MS: u64 = 600;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is {text}")))
}

/// Goes past the test harness, which keeps what passing tests print.
fn say(line: &str) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "kills: {line}");
}

/// Appends a burst for each permit, until there will be no more.
async fn load(producer: Arc<Mutex<Producer>>, permits: Arc<Semaphore>) {
    while let Ok(permit) = permits.acquire().await {
        permit.forget();
        producer.lock().await.append(BURST.0).await;
        sleep(BURST.1).await;
    }
}

/// Balances and counts in the database are those of the model.
async fn assert_model(producer: &Producer, pool: &sqlx::PgPool, context: &str) {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT account_id::text, trunc(balance_usd * 1000000000000)::text FROM accounts ORDER BY account_id",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let expected = producer.model.accounts.iter().map(|(id, account)| (id.to_string(), account.pico.to_string()));
    assert_eq!(rows, expected.collect::<Vec<_>>(), "{context}");
    let count = async |table: &str| -> usize {
        let count = format!("SELECT count(*) FROM {table}");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(pool).await.unwrap();
        usize::try_from(count).unwrap()
    };
    let counts = (count("postings").await, count("quarantine").await);
    assert_eq!(counts, (producer.model.postings(), producer.model.quarantined), "{context}");
}

/// Two ledgers under load, one of which is killed again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    let (kills, seed) = (number("MODELHUB_TEST_KILLS", KILLS), number("MODELHUB_TEST_SEED", SEED));
    say(&format!("{kills} kills, MODELHUB_TEST_SEED={seed}"));
    let group = Group::start().await;
    let system = &group.system;
    let log = books::log(system).await;
    let producer = Arc::new(Mutex::new(Producer::new(Arc::clone(&log), seed)));
    let permits = Arc::new(Semaphore::new(BURSTS));
    let load = tokio::spawn(load(Arc::clone(&producer), Arc::clone(&permits)));

    let mut random = Random(!seed);
    let (begun, mut recoveries, mut behind, mut audits) = (Instant::now(), Vec::new(), 0, 0);
    group.caught_up(&log).await;
    for kill in 1..=kills {
        let (victim, wait) = (random.below(2), Duration::from_millis(random.below(MOST_WAIT_MS)));
        let context = format!("kill {kill} of {kills}, of ledger {victim} after {wait:?}, seed {seed}");
        permits.add_permits(BURSTS);
        sleep(wait).await;
        let ledger = group.ledger(victim);
        let killed = Instant::now();
        // Some leave in good order: the others take over at once.
        if random.below(10) == 0 {
            assert_eq!(ledger.terminate().await, 0, "{context}: {}", ledger.stderr());
        } else {
            ledger.kill9().await;
        }
        behind += usize::from(group.is_behind(&log).await);
        ledger.start_again();
        let audit = system.run(&["audit", "--json"]).await;
        audits += books::nothing_differs(&audit, &context)["records"].as_u64().unwrap();
        // Some are killed before the group has got over the last one.
        if random.below(4) > 0 {
            group.caught_up(&log).await;
            recoveries.push(killed.elapsed());
        }
        if kill % 20 == 0 {
            say(&format!("{context}: {} s, {} records", begun.elapsed().as_secs(), producer.lock().await.records));
        }
    }
    permits.close();
    load.await.unwrap();
    group.caught_up(&log).await;
    let audit = books::applied(system).await;
    let producer = producer.lock().await;
    recoveries.sort_unstable();
    let (median, worst) = (recoveries.get(recoveries.len() / 2), recoveries.last());
    say(&format!(
        "{kills} kills in {} s, {behind} of them left records waiting; {audits} records audited; back to work after \
         {median:?} (median), {worst:?} (worst)",
        begun.elapsed().as_secs()
    ));
    say(&format!(
        "{} records, {} of them repeats, {} in quarantine; audit: {}",
        producer.records, producer.model.repeated, producer.model.quarantined, audit["state_hash"]
    ));
    assert_eq!(audit["records"], producer.records);
    group.comes_back_from_the_log(&producer, &format!("seed {seed}")).await;
}
