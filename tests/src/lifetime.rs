//! Engines and the process of the tests: shared within it, gone with it, and a clear line where one cannot be had.
//!
//! Each test runs this test program once more as a process of its own, which does what `child` says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::Process;
use crate::{clickhouse, kafka, postgres, sdk, tool};

const OVERRIDES: [&str; 16] = [
    "DATABASE_URL",
    "KAFKA_BROKERS",
    "CLICKHOUSE_URL",
    "CLICKHOUSE_USER",
    "CLICKHOUSE_PASSWORD",
    "JAVA_HOME",
    "MODELHUB_TEST_PG_BIN",
    "MODELHUB_TEST_JAVA",
    "MODELHUB_TEST_MVN",
    "MODELHUB_TEST_NPM",
    "MODELHUB_TEST_CLICKHOUSE",
    "MODELHUB_TEST_PYTHON",
    "MODELHUB_TEST_NODE",
    "MODELHUB_TEST_CURL",
    "MODELHUB_TEST_DOCKER_COMPOSE",
    "RUST_BACKTRACE",
];

/// What the child processes do; nothing in the process of the tests.
#[tokio::test]
async fn child() {
    let role = std::env::var("MODELHUB_TEST_CHILD").unwrap_or_default();
    for name in role.split_whitespace() {
        // Twice, to see that an engine is shared, and that a failure is remembered.
        for _ in 0..2 {
            // In a task, whose panic does not end the child before it has tried again.
            let use_it = match name {
                "postgres" => tokio::spawn(async { postgres::database().await.url().to_owned() }),
                "kafka" => tokio::spawn(async { kafka::cluster().await.brokers().to_owned() }),
                "clickhouse" => tokio::spawn(async { clickhouse::database().await.url().to_owned() }),
                "python" => tokio::spawn(async { format!("{:?}", sdk::python().await) }),
                "node" => tokio::spawn(async { format!("{:?}", sdk::node().await) }),
                "curl" => tokio::spawn(async { tool::curl().display().to_string() }),
                "docker-compose" => tokio::spawn(async { tool::docker_compose().display().to_string() }),
                _ => continue,
            };
            if let Ok(at) = use_it.await {
                println!("{name} at {at}");
            }
        }
    }
    if role.contains("hold") {
        println!("holding");
        tokio::time::sleep(Duration::from_mins(10)).await;
    }
}

fn run(role: &str, variables: &[(&str, &str)]) -> Process {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "lifetime::child", "--nocapture"]);
    for name in OVERRIDES {
        command.env_remove(name);
    }
    command.env("MODELHUB_TEST_CHILD", role).envs(variables.iter().copied());
    Process::start(&command)
}

/// A folder in which everybody may make and remove his own, as in `/tmp`.
fn common_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).expect("permitted");
    folder
}

fn folders(within: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(within).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("modelhub-"))).collect()
}

fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[tokio::test]
async fn engines_are_shared_named_once_and_die_with_their_process() {
    let temporary = common_folder();
    let process = run("postgres kafka clickhouse hold", &[("TMPDIR", temporary.path().to_str().expect("UTF-8"))]);
    process.line("holding").await;
    for (name, version) in [("PostgreSQL", "1"), ("Apache Kafka", "4."), ("ClickHouse", "2")] {
        let announced = process.stderr().matches(&format!("engine: {name} {version}")).count();
        assert_eq!(announced, 1, "{name}: {}", process.stderr());
    }
    let folders_before = folders(temporary.path());
    assert_eq!(folders_before.len(), 3, "one for each engine: {folders_before:?}");
    let pids: Vec<String> = folders_before
        .iter()
        .map(|folder| fs::read_to_string(folder.join("pid")).expect("a pid").trim().to_owned())
        .collect();
    assert!(pids.iter().all(|pid| is_alive(pid)), "{pids:?}");

    process.kill9().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while pids.iter().any(|pid| is_alive(pid)) || !folders(temporary.path()).is_empty() {
        assert!(Instant::now() < deadline, "left behind: {:?}", folders(temporary.path()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn servers_that_run_elsewhere_are_used_instead() {
    let (postgres, kafka, clickhouse) = tokio::join!(postgres::database(), kafka::cluster(), clickhouse::database());
    let variables =
        [("DATABASE_URL", postgres.url()), ("KAFKA_BROKERS", kafka.brokers()), ("CLICKHOUSE_URL", clickhouse.url())];
    let process = run("postgres kafka clickhouse", &variables);
    assert_eq!(process.exit().await, 0, "{}", process.stderr());
    for (name, variable) in
        [("PostgreSQL", "DATABASE_URL"), ("Apache Kafka", "KAFKA_BROKERS"), ("ClickHouse", "CLICKHOUSE_URL")]
    {
        let stderr = process.stderr();
        let named = stderr.lines().find(|line| line.starts_with(&format!("engine: {name} "))).expect("named");
        assert!(named.contains(&format!("({variable})")), "{named}");
    }
    assert!(process.stdout().contains(&format!("kafka at {}", kafka.brokers())));
    assert!(process.stdout().contains(&format!("clickhouse at {}", clickhouse.url())));
}

/// An engine fails its tests, every one of them, with this one line.
async fn check(engine: &str, variables: &[(&str, &str)], line: &str) {
    let process = run(engine, variables);
    process.exit().await;
    let stderr = process.stderr();
    let found: Vec<&str> = stderr.lines().filter(|found| found.contains(line)).collect();
    assert_eq!(found.len(), 2, "{line:?} in {stderr}");
    assert_eq!(found[0], found[1]);
    assert!(!process.stdout().contains(&format!("{engine} at")), "{}", process.stdout());
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let none = "/nonexistent";
    let cache = tempfile::tempdir().expect("a folder");
    let cache = ("MODELHUB_TEST_CACHE", cache.path().to_str().expect("UTF-8"));
    check("postgres", &[("MODELHUB_TEST_PG_BIN", none)], "apt-get install postgresql, or set DATABASE_URL").await;
    check("kafka", &[("MODELHUB_TEST_JAVA", none)], "install openjdk-17-jre-headless, or set KAFKA_BROKERS").await;
    check("kafka", &[("MODELHUB_TEST_MVN", none), cache], "apt-get install maven, or set KAFKA_BROKERS").await;
    let library = ("MODELHUB_TEST_CLICKHOUSE", "");
    let npm = [library, ("MODELHUB_TEST_NPM", none), cache];
    check("clickhouse", &npm, "apt-get install npm, or set CLICKHOUSE_URL").await;
    let server = [("MODELHUB_TEST_CLICKHOUSE", none)];
    check("clickhouse", &server, "/nonexistent ($MODELHUB_TEST_CLICKHOUSE) is no ClickHouse of 24.1 or newer").await;
    check("python", &[("MODELHUB_TEST_PYTHON", none)], "apt-get install python3 python3-venv").await;
    check("node", &[("MODELHUB_TEST_NODE", none)], "apt-get install nodejs npm").await;
    check("node", &[("MODELHUB_TEST_NPM", none), cache], "apt-get install npm").await;
    check("curl", &[("MODELHUB_TEST_CURL", none)], "apt-get install curl").await;
    check("docker-compose", &[("MODELHUB_TEST_DOCKER_COMPOSE", none)], "apt-get install docker-compose").await;
}

#[tokio::test]
async fn what_is_too_old_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    let path = program.to_str().expect("UTF-8");
    let says = |script: &str| {
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permitted");
    };
    says("echo v18.20.4");
    check("node", &[("MODELHUB_TEST_NODE", path)], "is of version 18.20.4, too old: apt-get install nodejs npm").await;
    says("echo 3.9.2 /usr/bin/python3");
    let python = [("MODELHUB_TEST_PYTHON", path)];
    check("python", &python, "is of version 3.9.2, too old: apt-get install python3 python3-venv").await;
    says("echo \"ModuleNotFoundError: No module named 'ensurepip'\" >&2; exit 1");
    check("python", &python, "'ensurepip': apt-get install python3 python3-venv").await;
}

#[tokio::test]
async fn who_does_not_answer_is_said() {
    let postgres = [("DATABASE_URL", "postgres://somebody:secret@127.0.0.1:1/a")];
    check("postgres", &postgres, "PostgreSQL at 127.0.0.1:1 (DATABASE_URL) does not answer").await;
    let kafka = [("KAFKA_BROKERS", "127.0.0.1:1")];
    check("kafka", &kafka, "Apache Kafka at 127.0.0.1:1 (KAFKA_BROKERS) does not answer").await;
    let clickhouse = [("CLICKHOUSE_URL", "http://127.0.0.1:1")];
    check("clickhouse", &clickhouse, "ClickHouse at http://127.0.0.1:1 does not answer").await;
}
