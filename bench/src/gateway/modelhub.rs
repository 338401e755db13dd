//! `modelhub` as it is shipped: the release build, started as its users start it, in both modes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use schemas::Usd;
use serde_json::Value;
use tempfile::TempDir;
use tests::process::Process;

use super::ledger_proxy::{self, Asked};
use super::payload::{MODEL, PRICES, UPSTREAM_MODEL};
use super::pinned;

/// What pays for the requests, in USD.
const CREDIT_USD: &str = "1000";

/// A running installation with one account.
pub(super) struct Installation {
    /// `host:port` of the public API.
    pub(super) address: String,
    /// The account's key.
    pub(super) key: String,
    /// What the gateway asked its ledger; none where that is in the same process.
    pub(super) asked: Option<Asked>,
    account: String,
    program: PathBuf,
    folder: TempDir,
    environment: Vec<(String, String)>,
    services: Vec<Process>,
    _engines: Option<Engines>,
}

struct Engines {
    _kafka: tests::kafka::Cluster,
    _postgres: tests::postgres::Database,
    _clickhouse: tests::clickhouse::Database,
}

/// Builds the release, so that what is measured is this checkout; gives its path.
pub(super) fn build() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--package", "modelhub"]).current_dir(root);
    // What `cargo run` says about this package is nothing to the build of another, and some build scripts look at it.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    ensure!(command.status().context("cargo")?.success(), "modelhub could not be built");
    let own = std::env::current_exe().context("this program's own path")?;
    let target = own.parent().and_then(Path::parent).context("the target folder")?;
    Ok(target.join("release/modelhub"))
}

fn loopback() -> String {
    format!("127.0.0.1:{}", tests::port())
}

impl Installation {
    /// `modelhub serve`: everything in one process.
    pub(super) async fn embedded(program: &Path, upstream: &str) -> anyhow::Result<Self> {
        let mut installation = Self::prepare(program, upstream)?;
        installation.start("serve", pinned::PROXY, &installation.address.clone()).await;
        installation.open_account().await?;
        Ok(installation)
    }

    /// `modelhub gateway`, with ledger and projector as processes of their own, on Kafka, `PostgreSQL` and `ClickHouse`.
    pub(super) async fn distributed(program: &Path, upstream: &str) -> anyhow::Result<Self> {
        let (kafka, postgres, clickhouse) =
            (tests::kafka::cluster().await, tests::postgres::database().await, tests::clickhouse::database().await);
        let mut installation = Self::prepare(program, upstream)?;
        let [ledger, counted, projector] = [loopback(), loopback(), loopback()];
        let lines = include_str!("../../../deploy/modelhub.env").lines();
        let lines = lines.filter_map(|line| line.split_once('=')).filter(|(key, _)| !key.starts_with('#'));
        for (key, value) in lines {
            let here = match key {
                "MODELHUB_LISTEN" | "MODELHUB_METRICS__LISTEN" => continue,
                "MODELHUB_LEDGER__LISTEN" => ledger.clone(),
                "MODELHUB_LEDGER__URL" => format!("http://{counted}"),
                "MODELHUB_PROJECTOR__LISTEN" => projector.clone(),
                "MODELHUB_KAFKA__BROKERS" => kafka.brokers().to_owned(),
                "MODELHUB_KAFKA__TOPIC" => format!("{}{value}", kafka.topic_prefix()),
                "MODELHUB_POSTGRES__URL" => postgres.url().to_owned(),
                "MODELHUB_CLICKHOUSE__URL" => clickhouse.url().to_owned(),
                "MODELHUB_CLICKHOUSE__DATABASE" => clickhouse.name().to_owned(),
                "MODELHUB_CLICKHOUSE__USER" => clickhouse.user().unwrap_or("default").to_owned(),
                "MODELHUB_CLICKHOUSE__PASSWORD" => clickhouse.password().unwrap_or_default().to_owned(),
                "MODELHUB_KAFKA__PARTITIONS" | "MODELHUB_KAFKA__REPLICATION" => value.to_owned(),
                other => bail!("deploy/modelhub.env has {other}, which is not known here"),
            };
            installation.set(key, here);
        }
        installation.set("MODELHUB_KEY_PEPPER", "pepper-of-the-measurement".to_owned());
        installation.set("MODELHUB_LEDGER__SECRET", "secret-of-the-measurement".to_owned());
        let engines = Engines { _kafka: kafka, _postgres: postgres, _clickhouse: clickhouse };
        let mut installation = Self { _engines: Some(engines), ..installation };
        installation.asked = Some(ledger_proxy::start(&counted, ledger.clone()).await?);
        installation.start("ledger", pinned::OTHERS, &ledger).await;
        installation.start("projector", pinned::OTHERS, &projector).await;
        installation.start("gateway", pinned::PROXY, &installation.address.clone()).await;
        installation.open_account().await?;
        Ok(installation)
    }

    /// A folder with a configuration that differs from the shipped one by the upstream, its model, and a plan whose limits
    /// the load does not reach.
    fn prepare(program: &Path, upstream: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let price: Vec<_> = PRICES.iter().map(|(name, usd)| format!("{name} = \"{usd}\"")).collect();
        let configuration = format!(
            "[[upstreams]]\nname = \"bench\"\nbase_url = \"http://{upstream}/v1\"\n\
             [[models]]\nid = \"{MODEL}\"\nupstream = \"bench\"\nupstream_model = \"{UPSTREAM_MODEL}\"\n\
             context_tokens = 131072\nmax_output_tokens = 8192\nprice = {{ {} }}\n\
             [[plans]]\nid = \"free\"\nrequests_per_minute = 100000000\nmax_in_flight = 10000\n",
            price.join(", ")
        );
        std::fs::write(folder.path().join("modelhub.toml"), configuration)?;
        let address = loopback();
        let mut installation = Self {
            address: address.clone(),
            key: String::new(),
            asked: None,
            account: String::new(),
            program: program.to_owned(),
            folder,
            environment: Vec::new(),
            services: Vec::new(),
            _engines: None,
        };
        installation.set("MODELHUB_LISTEN", address);
        // Each service is to have one of its own.
        installation.set("MODELHUB_METRICS__LISTEN", "127.0.0.1:0".to_owned());
        Ok(installation)
    }

    fn set(&mut self, key: &str, value: String) {
        self.environment.push((key.to_owned(), value));
    }

    async fn start(&mut self, service: &str, processor: &str, address: &str) {
        let mut command = pinned::command(processor, &self.program);
        command.arg(service).current_dir(self.folder.path()).envs(self.environment.iter().cloned());
        let process = Process::start(&command);
        process.answers(address, "/readyz").await;
        self.services.push(process);
    }

    async fn open_account(&mut self) -> anyhow::Result<()> {
        let opened = self.admin(["open-account", "--email", "bench@example.com"]).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
        (self.account, self.key) = (text(&opened["account_id"])?, text(&opened["key"]["secret"])?);
        let account = self.account.clone();
        let grant = ["grant", "--account", &account, "--amount", CREDIT_USD, "--reason", "measurement"];
        self.admin(grant).await.map(drop)
    }

    /// The account's balance, in 10⁻¹² USD.
    pub(super) async fn balance_pico(&self) -> anyhow::Result<i64> {
        let balance = self.admin(["balance", "--account", &self.account]).await?;
        let balance: Usd = balance["balance_usd"].as_str().context("a balance")?.parse()?;
        balance.to_pico().context("a balance beyond what is granted")
    }

    /// The process that is measured: the gateway, or the one that is everything.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.services.last().and_then(Process::pid).context("the gateway has ended")
    }

    async fn admin<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Value> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(["admin", "--json"]).args(arguments).current_dir(self.folder.path());
        let output = command.envs(self.environment.iter().cloned()).output().await?;
        ensure!(output.status.success(), "modelhub admin: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
