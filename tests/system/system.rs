//! ModelHub as a whole, in either mode: the processes that a test starts, and what it asks of them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;
use tempfile::TempDir;
use tests::process::Process;

use crate::client::Client;

/// The variables that the services of `docker-compose.yml` run with, but for the secrets.
pub(crate) fn distributed_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("../../deploy/modelhub.env").lines();
    lines.filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| line.split_once('=').expect("KEY=value"))
}

/// A running installation.
pub(crate) struct System {
    /// `host:port` of the public API.
    pub(crate) address: String,
    folder: TempDir,
    environment: Vec<(String, String)>,
    services: Vec<Service>,
    /// Databases and topics, for as long as the system runs.
    engines: Option<Engines>,
}

struct Service {
    name: &'static str,
    /// Where its `/readyz` is.
    address: String,
    process: Process,
}

/// One more gateway of a running installation.
pub(crate) struct Gateway {
    /// `host:port` of its public API.
    pub(crate) address: String,
    pub(crate) process: Process,
    _spool: TempDir,
}

struct Engines {
    kafka: tests::kafka::Cluster,
    _postgres: tests::postgres::Database,
    _clickhouse: tests::clickhouse::Database,
}

/// Most tests send more requests than a free account may.
const NO_LIMITS: &str = "\n[[plans]]\nid = \"free\"\nrequests_per_minute = 1000000\nmax_in_flight = 10000\n";

/// A folder with this `modelhub.toml`.
fn folder_with(configuration: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let plans = if configuration.contains("[[plans]]") { "" } else { NO_LIMITS };
    std::fs::write(folder.path().join("modelhub.toml"), format!("{configuration}{plans}")).expect("a file");
    folder
}

/// Histories that tests write happened in some past month, and tests count events: no invoice comes by itself.
fn by_hand() -> (String, String) {
    ("MODELHUB_INVOICES__AUTOMATIC".to_owned(), "false".to_owned())
}

/// Where each service tells its metrics: all have the same configuration.
const ANY_PORT: &str = "127.0.0.1:0";

fn loopback() -> String {
    format!("127.0.0.1:{}", tests::port())
}

impl System {
    /// Everything in one process, without any configuration but its address and folder, and without limits of requests.
    pub(crate) async fn embedded() -> Self {
        Self::embedded_with("").await
    }

    /// Everything in one process, with this `modelhub.toml`; without limits of requests unless it has plans.
    pub(crate) async fn embedded_with(configuration: &str) -> Self {
        Self::embedded_with_variables(configuration, &[]).await
    }

    /// The same with these variables beside the usual ones.
    pub(crate) async fn embedded_with_variables(configuration: &str, variables: &[(&str, &str)]) -> Self {
        let folder = folder_with(configuration);
        let address = loopback();
        let metrics = ("MODELHUB_METRICS__LISTEN".to_owned(), ANY_PORT.to_owned());
        let mut environment = vec![("MODELHUB_LISTEN".to_owned(), address.clone()), metrics, by_hand()];
        environment.extend(variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let mut system = Self { address: address.clone(), folder, environment, services: Vec::new(), engines: None };
        system.start("serve", address).await;
        system
    }

    /// A gateway, a ledger and a projector on real Kafka, PostgreSQL and ClickHouse, configured as by
    /// `docker-compose.yml`.
    pub(crate) async fn distributed() -> Self {
        Self::distributed_on(tests::kafka::cluster().await, "", &[]).await
    }

    /// As `distributed`, on this cluster, with this `modelhub.toml` and these variables beside the usual ones.
    pub(crate) async fn distributed_on(
        kafka: tests::kafka::Cluster,
        configuration: &str,
        variables: &[(&str, String)],
    ) -> Self {
        let mut system = Self::without_services_on(kafka, configuration).await;
        system.environment.extend(variables.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        for (name, key) in [
            ("ledger", "MODELHUB_LEDGER__LISTEN"),
            ("projector", "MODELHUB_PROJECTOR__LISTEN"),
            ("gateway", "MODELHUB_LISTEN"),
        ] {
            let address = system.variable(key).expect("an address").to_owned();
            system.start(name, address).await;
        }
        system
    }

    /// The engines and the configuration of distributed mode, before any service is started.
    pub(crate) async fn distributed_without_services() -> Self {
        Self::without_services_on(tests::kafka::cluster().await, "").await
    }

    async fn without_services_on(kafka: tests::kafka::Cluster, configuration: &str) -> Self {
        // One after the other: where one cannot be had, the test fails at once and leaves no other half started.
        let postgres = tests::postgres::database().await;
        let clickhouse = tests::clickhouse::database().await;
        let folder = folder_with(configuration);
        let [gateway, ledger, projector] = [loopback(), loopback(), loopback()];
        let mut environment: Vec<(String, String)> = distributed_variables()
            .map(|(key, value)| {
                let here = match key {
                    "MODELHUB_LISTEN" => gateway.clone(),
                    "MODELHUB_LEDGER__LISTEN" => ledger.clone(),
                    "MODELHUB_PROJECTOR__LISTEN" => projector.clone(),
                    "MODELHUB_METRICS__LISTEN" => ANY_PORT.to_owned(),
                    "MODELHUB_LEDGER__URL" => format!("http://{ledger}"),
                    "MODELHUB_KAFKA__BROKERS" => kafka.brokers().to_owned(),
                    "MODELHUB_KAFKA__TOPIC" => format!("{}{value}", kafka.topic_prefix()),
                    "MODELHUB_POSTGRES__URL" => postgres.url().to_owned(),
                    "MODELHUB_CLICKHOUSE__URL" => clickhouse.url().to_owned(),
                    "MODELHUB_CLICKHOUSE__DATABASE" => clickhouse.name().to_owned(),
                    "MODELHUB_CLICKHOUSE__USER" => clickhouse.user().unwrap_or("default").to_owned(),
                    "MODELHUB_CLICKHOUSE__PASSWORD" => clickhouse.password().unwrap_or_default().to_owned(),
                    "MODELHUB_KAFKA__PARTITIONS" | "MODELHUB_KAFKA__REPLICATION" => value.to_owned(),
                    other => panic!("deploy/modelhub.env has {other}, which the tests do not know"),
                };
                (key.to_owned(), here)
            })
            .collect();
        environment.push(("MODELHUB_KEY_PEPPER".to_owned(), "pepper-of-the-distributed-tests".to_owned()));
        environment.push(by_hand());
        environment.push(("MODELHUB_LEDGER__SECRET".to_owned(), "secret-of-the-distributed-tests".to_owned()));
        let engines = Engines { kafka, _postgres: postgres, _clickhouse: clickhouse };
        Self { address: gateway, folder, environment, services: Vec::new(), engines: Some(engines) }
    }

    async fn start(&mut self, name: &'static str, address: String) {
        let process = Process::start(self.command().arg(name));
        process.answers(&address, "/readyz").await;
        self.services.push(Service { name, address, process });
    }

    /// Starts one more gateway of distributed mode, with a spool of its own.
    pub(crate) async fn another_gateway(&self) -> Gateway {
        self.another_gateway_with(&[]).await
    }

    /// As `another_gateway`, with these variables over the system's own.
    pub(crate) async fn another_gateway_with(&self, variables: &[(&str, &str)]) -> Gateway {
        let (folder, address) = (tempfile::tempdir().expect("a folder"), loopback());
        let mut command = self.command();
        command.envs(variables.iter().copied());
        command.env("MODELHUB_LISTEN", &address).env("MODELHUB_SPOOL__DIR", folder.path()).arg("gateway");
        let process = Process::start(&command);
        process.answers(&address, "/readyz").await;
        Gateway { address, process, _spool: folder }
    }

    /// A running service of distributed mode.
    pub(crate) fn service(&self, name: &str) -> &Process {
        &self.services.iter().find(|service| service.name == name).expect("a service").process
    }

    /// `host:port` of a running service's metrics, as it said last.
    pub(crate) fn metrics_address(&self, name: &str) -> String {
        let log = self.service(name).stderr();
        let said = log.lines().rfind(|line| line.contains("metrics listen")).expect("metrics are told");
        said.rsplit_once("address=").expect("an address").1.to_owned()
    }

    /// Starts a service that was ended, and waits until it is ready.
    pub(crate) async fn start_service_again(&self, name: &str) {
        let service = self.services.iter().find(|service| service.name == name).expect("a service");
        service.process.start_again();
        service.process.answers(&service.address, "/readyz").await;
    }

    /// Whether a projector is among its services.
    pub(crate) fn projects(&self) -> bool {
        self.services.iter().any(|service| matches!(service.name, "serve" | "projector"))
    }

    /// `modelhub`, configured as this system is.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelhub"));
        command.current_dir(self.folder.path()).envs(self.environment.iter().cloned());
        command
    }

    /// Runs `modelhub admin --json …` and gives what it prints.
    pub(crate) async fn admin(&self, arguments: &[&str]) -> Value {
        self.try_admin(arguments).await.unwrap_or_else(|error| panic!("admin {arguments:?}: {error}"))
    }

    /// As `admin`; what it wrote to standard error where it failed.
    pub(crate) async fn try_admin(&self, arguments: &[&str]) -> Result<Value, String> {
        let mut command = tokio::process::Command::from(self.command());
        let output = command.args(["admin", "--json"]).args(arguments).output().await.expect("modelhub admin");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    /// Opens an account; gives its id and a client with its first key.
    pub(crate) async fn open_account(&self, email: &str) -> (String, Client) {
        let opened = self.admin(&["open-account", "--email", email]).await;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&opened["account_id"]), Client::new(&self.address, &text(&opened["key"]["secret"])))
    }

    /// The account's balance.
    pub(crate) async fn balance(&self, account: &str) -> Decimal {
        decimal(&self.admin(&["balance", "--account", account]).await["balance_usd"])
    }

    /// The account's balance, once it is `expected`; fails the test where it isn't within a while.
    pub(crate) async fn balance_becomes(&self, account: &str, expected: Decimal) {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        loop {
            let balance = self.balance(account).await;
            if balance == expected {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "the balance is {balance}, not {expected}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends every service, the gateway first, and starts them again in the order of their dependencies.
    pub(crate) async fn restart(&self, how: Stop) {
        self.stop(how).await;
        self.start_again().await;
    }

    /// Ends every service, the gateway first.
    pub(crate) async fn stop(&self, how: Stop) {
        for service in self.services.iter().rev() {
            match how {
                Stop::Terminate => {
                    let status = service.process.terminate().await;
                    assert_eq!(status, 0, "{}: {}", service.name, service.process.stderr());
                }
                Stop::Kill9 => service.process.kill9().await,
            }
        }
    }

    /// Starts every service that was ended, in the order of their dependencies.
    pub(crate) async fn start_again(&self) {
        for service in &self.services {
            service.process.start_again();
            service.process.answers(&service.address, "/readyz").await;
        }
    }

    /// Runs `modelhub` with these arguments, and these variables over the system's own, to its end.
    pub(crate) async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
        let mut command = tokio::process::Command::from(self.command());
        let output = command.args(arguments).envs(variables.iter().copied()).output().await.expect("modelhub");
        Finished {
            code: output.status.code().expect("an exit status"),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `modelhub` with these arguments to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with(arguments, &[]).await
    }

    /// The data folder of embedded mode.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A variable that the system is configured with; none in embedded mode.
    pub(crate) fn variable(&self, key: &str) -> Option<&str> {
        self.environment.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Configures what is started from now on.
    pub(crate) fn set_variable(&mut self, key: &str, value: String) {
        self.environment.retain(|(name, _)| name != key);
        self.environment.push((key.to_owned(), value));
    }

    /// A short time after which Kafka takes a ledger for dead; for distributed mode.
    pub(crate) fn session_timeout(&self) -> Duration {
        self.engines.as_ref().expect("distributed mode").kafka.session_timeout()
    }

    /// All that the services wrote to standard output and error.
    pub(crate) fn output(&self) -> String {
        self.services.iter().map(|s| s.process.stdout() + &s.process.stderr()).collect()
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// What it printed, which must be JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// How services end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    Terminate,
    Kill9,
}

/// An exact decimal of an answer.
pub(crate) fn decimal(value: &Value) -> Decimal {
    Decimal::from_str_exact(value.as_str().expect("a decimal as text")).expect("an exact decimal")
}
