//! A rebuild that is killed leaves a store that has not read the log to its end: another rebuild, or the service, brings it
//! there, and it is the same to the byte.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use tests::process::Process;
use tokio::time::{Instant, sleep};

use super::SEED;
use super::producer::{Producer, Random};
use crate::books;
use crate::system::{Stop, System};

/// Records of a log of one partition, and of one of four: several transactions of at most 10,000 records each.
const RECORDS: [usize; 2] = [14_000, 6_000];
/// Kills at any moment, and kills in the middle of the fold.
const KILLS: [usize; 2] = [2, 1];
/// How long a rebuild may take to have written something.
const PATIENCE: Duration = Duration::from_mins(1);

const APPLIED: &str = "SELECT CAST(coalesce(sum(next_offset), 0) AS bigint) FROM positions";

/// What a store holds.
trait Ledger {
    /// All of it.
    async fn dump(&self) -> Vec<String>;
    /// How many records are applied; none where the tables are gone.
    async fn applied(&self) -> i64;
}

struct Embedded(std::path::PathBuf);

impl Ledger for Embedded {
    async fn dump(&self) -> Vec<String> {
        books::sqlite_dump(&self.0).await
    }

    async fn applied(&self) -> i64 {
        let mut connection = books::sqlite(&self.0).await;
        let applied = sqlx::query_scalar(APPLIED).fetch_one(&mut connection).await.unwrap_or(0);
        connection.close().await.unwrap();
        applied
    }
}

impl Ledger for sqlx::PgPool {
    async fn dump(&self) -> Vec<String> {
        books::postgres_dump(self).await
    }

    async fn applied(&self) -> i64 {
        sqlx::query_scalar(APPLIED).fetch_one(self).await.unwrap_or(0)
    }
}

fn rebuild(system: &System) -> Process {
    Process::start(system.command().args(["rebuild", "ledger"]))
}

/// Kills rebuilds. The store that this ends with is in the middle of the log.
async fn kill_some(system: &System, took: Duration, ledger: &impl Ledger, random: &mut Random, records: usize) {
    let [any, middle] = KILLS;
    for _ in 0..any {
        let process = rebuild(system);
        sleep(Duration::from_micros(random.below(u64::try_from(took.as_micros()).unwrap()))).await;
        process.kill9().await;
    }
    let mut seen = Vec::new();
    let (begun, records) = (Instant::now(), i64::try_from(records).unwrap());
    while seen.iter().filter(|applied| (1..records).contains(*applied)).count() < middle {
        assert!(begun.elapsed() < PATIENCE, "no rebuild was killed in the middle: {seen:?}");
        let process = rebuild(system);
        // What the one before left goes away first.
        let before = ledger.applied().await;
        while begun.elapsed() < PATIENCE && [0, before].contains(&ledger.applied().await) && process.pid().is_some() {
            sleep(Duration::from_millis(2)).await;
        }
        process.kill9().await;
        seen.push(ledger.applied().await);
    }
}

/// Gives what the store has to be, and leaves it in the middle of a rebuild.
async fn is_the_same_after_any_kill(system: &System, ledger: &impl Ledger, records: usize) -> Vec<String> {
    let whole_rebuild = async || {
        let begun = Instant::now();
        let rebuilt = system.run(&["rebuild", "ledger"]).await;
        assert_eq!(rebuilt.code, 0, "{rebuilt:?}");
        begun.elapsed()
    };
    let mut random = Random(SEED);
    let took = whole_rebuild().await;
    let whole = ledger.dump().await;
    kill_some(system, took, ledger, &mut random, records).await;
    whole_rebuild().await;
    assert!(ledger.dump().await == whole, "another rebuild is not the same");
    kill_some(system, took, ledger, &mut random, records).await;
    whole
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_rebuild_may_be_killed() {
    let system = System::embedded().await;
    Producer::new(books::log(&system).await, SEED).append(RECORDS[0]).await;
    books::applied(&system).await;
    system.stop(Stop::Terminate).await;
    let ledger = Embedded(system.data_dir().join("ledger.sqlite"));
    let whole = is_the_same_after_any_kill(&system, &ledger, RECORDS[0]).await;
    system.start_again().await;
    books::applied(&system).await;
    system.stop(Stop::Terminate).await;
    assert!(ledger.dump().await == whole, "what the service went on to is not the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_distributed_rebuild_may_be_killed() {
    let mut system = System::distributed_without_services().await;
    system.set_variable("MODELHUB_KAFKA__PARTITIONS", "4".to_owned());
    let log = books::log(&system).await;
    let mut producer = Producer::new(Arc::clone(&log), SEED);
    producer.append(RECORDS[1]).await;
    let pool = books::postgres(&system).await;
    let whole = is_the_same_after_any_kill(&system, &pool, RECORDS[1]).await;
    let ledger = Process::start(system.command().arg("ledger"));
    ledger.answers(system.variable("MODELHUB_LEDGER__LISTEN").unwrap(), "/readyz").await;
    books::applied(&system).await;
    assert_eq!(ledger.terminate().await, 0, "{}", ledger.stderr());
    assert!(pool.dump().await == whole, "what the service went on to is not the same");
    super::assert_model(&producer, &pool, "rebuilt").await;
}
