//! What only a file can show; the conformance suite has the rest.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use bytes::Bytes;
use schemas::AccountId;
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::*;

fn record(n: u128) -> Record {
    Record { key: AccountId(Uuid::from_u128(n)), payload: Bytes::from(n.to_string()) }
}

async fn payloads(log: &EmbeddedLog) -> Vec<String> {
    let mut payloads = Vec::new();
    for partition in (0..log.partitions()).map(PartitionId) {
        let bounds = Bounds { records: usize::MAX, bytes: usize::MAX };
        let batch = log.read(partition, Offset(0), bounds).await.unwrap();
        payloads.extend(batch.records.iter().map(|record| String::from_utf8(record.payload.to_vec()).unwrap()));
    }
    payloads.sort();
    payloads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_commits() {
    let folder = TempDir::new().unwrap();
    let log = Arc::new(EmbeddedLog::open(&folder.path().join("log.db"), 3).await.unwrap());
    let mut appends = JoinSet::new();
    for n in 0..1_000 {
        let log = Arc::clone(&log);
        appends.spawn(async move { log.append(record(n)).await.unwrap() });
    }
    let mut positions = appends.join_all().await;
    positions.sort();
    positions.dedup();
    assert_eq!(positions.len(), 1_000);
    assert_eq!(payloads(&log).await.len(), 1_000);
    let commits = log.commits();
    assert!((1..=50).contains(&commits), "{commits} commits for 1,000 appends");
}

#[tokio::test]
async fn the_stored_number_of_partitions_wins() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    let first = EmbeddedLog::open(&path, 3).await.unwrap();
    let place = first.append(record(1)).await.unwrap();
    drop(first);
    let second = EmbeddedLog::open(&path, 8).await.unwrap();
    assert_eq!(second.partitions(), 3);
    let Position { partition, offset } = second.append(record(1)).await.unwrap();
    assert_eq!((partition, offset), (place.partition, place.offset.next()));
}

#[tokio::test]
async fn two_writers_of_one_file_never_collide() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    let logs = [EmbeddedLog::open(&path, 1).await.unwrap(), EmbeddedLog::open(&path, 1).await.unwrap()];
    let mut offsets = Vec::new();
    for n in 0..50 {
        let (a, b) = tokio::join!(logs[0].append(record(n)), logs[1].append(record(100 + n)));
        offsets.extend([a.unwrap().offset.0, b.unwrap().offset.0]);
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_refuses_appends_and_keeps_what_it_confirmed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    let small = EmbeddedLog::with_options(file::options(&path).pragma("max_page_count", "24"), 1).await.unwrap();
    let mut confirmed = 0;
    let refusal = loop {
        match small.append(Record { payload: Bytes::from(vec![1; 1_000]), ..record(0) }).await {
            Ok(position) => assert_eq!(position.offset, Offset(confirmed)),
            Err(error) => break error,
        }
        confirmed += 1;
        assert!(confirmed < 100, "24 pages hold no 100 records of 1,000 bytes");
    };
    assert!(matches!(&refusal, AppendError::Unavailable(error) if error.contains("full")), "{refusal}");
    assert!(confirmed > 10);

    let grown = EmbeddedLog::open(&path, 1).await.unwrap();
    assert_eq!(grown.end(PartitionId(0)).await.unwrap(), Offset(confirmed));
    assert_eq!(grown.append(record(0)).await.unwrap().offset, Offset(confirmed));
}

#[tokio::test]
async fn what_is_no_log_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    std::fs::write(&path, "not a database, though long enough to look like one at first sight").unwrap();
    let error = EmbeddedLog::open(&path, 3).await.err().unwrap().to_string();
    assert!(error.contains("log.db") && error.contains("not a database"), "{error}");
}

/// Where the child of [`kill_9_loses_nothing_confirmed`] appends.
const CHILD_FILE: &str = "EVENTLOG_TEST_FILE";

async fn append_until_killed(path: &Path) {
    let log = Arc::new(EmbeddedLog::open(path, 3).await.unwrap());
    let mut appends = JoinSet::new();
    for task in 0..8 {
        let log = Arc::clone(&log);
        let writer = u128::from(std::process::id()) << 96 | task << 64;
        appends.spawn(async move {
            for n in 0.. {
                let record = record(writer | n);
                log.append(record.clone()).await.unwrap();
                println!("confirmed {}", String::from_utf8_lossy(&record.payload));
            }
        });
    }
    appends.join_all().await;
}

/// Runs itself once more, as the child that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_confirmed() {
    if let Ok(path) = std::env::var(CHILD_FILE) {
        return append_until_killed(Path::new(&path)).await;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.db");
    let mut confirmed = Vec::new();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::tests::kill_9_loses_nothing_confirmed", "--nocapture"])
            .env(CHILD_FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let payload = |line: String| line.strip_prefix("confirmed ").map(str::to_owned);
        confirmed.extend(lines.by_ref().map_while(Result::ok).filter_map(payload).take(200 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // The last line may be torn.
        confirmed.extend(lines.map_while(Result::ok).filter_map(payload).collect::<Vec<_>>().into_iter().rev().skip(1));

        let log = EmbeddedLog::open(&path, 3).await.unwrap();
        let held = payloads(&log).await;
        let lost: Vec<_> = confirmed.iter().filter(|payload| held.binary_search(payload).is_err()).collect();
        assert!(lost.is_empty(), "round {round}: confirmed, and not there: {lost:?}");
        assert!(confirmed.len() >= 200 * round);
    }
}
