//! `docker-compose.yml`, as docker-compose itself understands it: its services run with exactly the lines that the
//! distributed tests run with.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::system::distributed_variables;

/// docker-compose's `config`, with this `.env` and no other variables.
pub(crate) fn config(env: &str) -> Output {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), env).expect("written");
    let mut command = Command::new(tests::tool::docker_compose());
    command.env_clear().envs(["PATH", "HOME"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.arg("--env-file").arg(file.path()).arg("--project-directory").arg(env!("CARGO_MANIFEST_DIR"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml");
    command.arg("--file").arg(file).arg("config").output().expect("docker-compose")
}

/// What it makes of the file.
static UNDERSTOOD: LazyLock<Value> = LazyLock::new(|| {
    let output = config("MODELHUB_KEY_PEPPER=the pepper\nMODELHUB_LEDGER__SECRET=the secret\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_saphyr::from_slice(&output.stdout).expect("YAML")
});

fn names(mapping: &Value) -> Vec<&str> {
    mapping.as_object().map(|mapping| mapping.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// A service's mounts, as volume and path; newer versions of docker-compose write them longer.
fn mounts(service: &Value) -> Vec<(String, String)> {
    let mounts = service["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let read = |mount: &Value| match mount.as_str() {
        Some(short) => {
            let mut parts = short.split(':').map(str::to_owned);
            Some((parts.next()?, parts.next()?))
        }
        None => Some((mount["source"].as_str()?.to_owned(), mount["target"].as_str()?.to_owned())),
    };
    mounts.iter().map(|mount| read(mount).expect("a mount")).collect()
}

#[test]
fn services_run_with_the_lines_of_the_distributed_tests() {
    let config = &*UNDERSTOOD;
    let mut expected: BTreeMap<&str, &str> = distributed_variables().collect();
    expected.extend([("MODELHUB_KEY_PEPPER", "the pepper"), ("MODELHUB_LEDGER__SECRET", "the secret")]);
    for name in ["gateway", "ledger", "projector"] {
        let service = &config["services"][name];
        assert_eq!(service["command"], json!([name]));
        assert_eq!(service["environment"], json!(expected), "{name}");
    }
}

#[test]
fn services_start_in_order_once_what_they_need_is_healthy() {
    let config = &*UNDERSTOOD;
    let ready = |port: u16| format!("modelhub ready http://127.0.0.1:{port}/readyz");
    let expected = [
        ("gateway", vec!["clickhouse", "kafka", "ledger"], ready(8080)),
        ("ledger", vec!["kafka", "postgres"], ready(8090)),
        ("projector", vec!["clickhouse", "kafka"], ready(8091)),
        ("kafka", vec![], "/opt/kafka/bin/kafka-broker-api-versions.sh --bootstrap-server localhost:9092".to_owned()),
        ("postgres", vec![], "pg_isready --username modelhub --dbname modelhub".to_owned()),
        ("clickhouse", vec![], "wget --quiet --spider http://127.0.0.1:8123/ping".to_owned()),
    ];
    let mut all: Vec<&str> = expected.iter().map(|(name, ..)| *name).collect();
    all.sort_unstable();
    assert_eq!(names(&config["services"]), all);
    for (name, needs, check) in expected {
        let service = &config["services"][name];
        assert_eq!(names(&service["depends_on"]), needs, "{name}");
        for needed in needs {
            assert_eq!(service["depends_on"][needed]["condition"], "service_healthy", "{name} needs {needed}");
        }
        let test: Vec<&str> = check.split(' ').collect();
        assert_eq!(service["healthcheck"]["test"], json!([&["CMD"], &test[..]].concat()), "{name}");
        for limit in ["interval", "timeout", "retries"] {
            assert!(!service["healthcheck"][limit].is_null(), "{name}: {limit}");
        }
    }
}

#[test]
fn data_outlives_containers_and_only_the_gateway_is_reached_from_outside() {
    let config = &*UNDERSTOOD;
    assert_eq!(names(&config["volumes"]), ["clickhouse", "gateway", "kafka", "postgres"]);
    let services = config["services"].as_object().expect("services");
    for (name, service) in services {
        let expected = match name.as_str() {
            "clickhouse" => vec!["/var/lib/clickhouse"],
            "gateway" => vec!["/var/lib/modelhub/data"],
            "kafka" => vec!["/var/lib/kafka/data"],
            "postgres" => vec!["/var/lib/postgresql/data"],
            _ => vec![],
        };
        let expected: Vec<_> = expected.iter().map(|path| (name.clone(), (*path).to_owned())).collect();
        assert_eq!(mounts(service), expected, "{name}");
        assert_eq!(service["ports"].is_array(), name == "gateway", "{name}");
    }
    assert_eq!(services["kafka"]["environment"]["KAFKA_LOG_DIRS"], "/var/lib/kafka/data");
}

#[test]
fn missing_secrets_are_refused_with_the_place_that_has_them() {
    const REMEDY: &str = "is not set; see README, \"Distributed mode\"";
    for env in ["", "MODELHUB_KEY_PEPPER=p\n", "MODELHUB_LEDGER__SECRET=s\n"] {
        let output = config(env);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(REMEDY), "{env:?}: {told}");
    }
    assert!(include_str!("../../README.md").contains("\n## Distributed mode\n"));
}
