//! `PostgreSQL`: the system's binaries, on a cluster of our own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::failure::or_fail;
use crate::temporary::{self, User, output, tail};
use crate::watchdog::{Signal, Watchdog};
use crate::{announce, lookup, port, unique};

/// How long a start may take.
const LIMIT: Duration = Duration::from_mins(1);

/// An empty database that nobody else uses.
#[derive(Debug)]
pub struct Database {
    url: String,
    name: String,
}

impl Database {
    /// `postgres://…`, as sqlx and the configuration take it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A new database on the engine that this process's tests share, or on the server at `DATABASE_URL` (where it stays).
///
/// # Panics
///
/// When the engine cannot be had.
pub async fn database() -> Database {
    static SHARED: OnceCell<Result<Server, String>> = OnceCell::const_new();
    let server = SHARED
        .get_or_init(async || match env::var("DATABASE_URL") {
            Ok(url) => Server::at(&url).await,
            Err(_) => Server::launch().await,
        })
        .await;
    or_fail(server.as_ref()).database().await
}

/// Starts an engine of the test's own, whatever `DATABASE_URL` says.
///
/// # Panics
///
/// When the engine cannot be had.
pub async fn start() -> Server {
    or_fail(Server::launch().await)
}

/// An engine. One that a test started ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    options: PgConnectOptions,
    /// `None` where the server is not ours.
    watchdog: Option<Watchdog>,
}

impl Server {
    /// A new database.
    ///
    /// # Panics
    ///
    /// When the engine does not answer.
    pub async fn database(&self) -> Database {
        let name = unique::name();
        let create = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
            connection.close().await
        };
        or_fail(create.await.map_err(|error| format!("PostgreSQL gives no new database: {error}")));
        let url = self.options.clone().database(&name).to_url_lossy().to_string();
        Database { url, name }
    }

    /// Kills the engine as a crash would: nothing is flushed, no client is told.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn kill9(&self) {
        self.end(Signal::Quit).await;
    }

    /// Shuts the engine down in good order: transactions are rolled back, clients told, everything flushed.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn stop(&self) {
        self.end(Signal::Interrupt).await;
    }

    /// Starts the engine again after it was stopped or killed: the same port, the same databases.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn start_again(&self) {
        if let Some(watchdog) = &self.watchdog {
            or_fail(watchdog.start());
            or_fail(self.ready().await);
        }
    }

    async fn end(&self, signal: Signal) {
        if let Some(watchdog) = &self.watchdog {
            or_fail(watchdog.signal(signal));
            or_fail(watchdog.exit(LIMIT).await.map_err(|error| format!("PostgreSQL does not end: {error}")));
        }
    }

    async fn at(url: &str) -> Result<Self, String> {
        let options = url.parse().map_err(|error| format!("DATABASE_URL is not a URL of PostgreSQL: {error}"))?;
        let server = Self { options, watchdog: None };
        let version = server.version().await.map_err(|error| {
            let (host, port) = (server.options.get_host(), server.options.get_port());
            format!("PostgreSQL at {host}:{port} (DATABASE_URL) does not answer: {error}")
        })?;
        server.announce(&version, " (DATABASE_URL)");
        Ok(server)
    }

    async fn launch() -> Result<Self, String> {
        let binaries = binaries()?;
        let port = port();
        let cluster = move || cluster(&binaries, port);
        let watchdog = tokio::task::spawn_blocking(cluster).await.map_err(|error| error.to_string())??;
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username("postgres")
            .database("postgres");
        let server = Self { options, watchdog: Some(watchdog) };
        let version = server.ready().await?;
        server.announce(&version, "");
        Ok(server)
    }

    async fn ready(&self) -> Result<String, String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let error = match self.version().await {
                Ok(version) => return Ok(version),
                Err(error) => error,
            };
            let (running, log) = match &self.watchdog {
                Some(watchdog) => (watchdog.pid().is_some(), watchdog.stderr()),
                None => (true, String::new()),
            };
            if !running || Instant::now() > deadline {
                return Err(format!("PostgreSQL does not come up ({error}): {}", tail(&log)));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn version(&self) -> Result<String, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let version = sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(version)
    }

    fn announce(&self, version: &str, from: &str) {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        announce::engine("PostgreSQL", &format!("{version} at {host}:{port}{from}"));
    }
}

/// Makes a cluster in a temporary folder and starts a server on it.
fn cluster(binaries: &Path, port: u16) -> Result<Watchdog, String> {
    let folder = temporary::folder()?;
    let user = User::instead_of_root(folder.path())?;
    let data = folder.path().join("data");
    let mut initdb = Command::new(binaries.join("initdb"));
    initdb
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"])
        .arg(&data)
        .current_dir(folder.path());
    if let Some(user) = user {
        user.runs(&mut initdb);
    }
    output(&mut initdb)?;
    let mut server = Command::new(binaries.join("postgres"));
    server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "recovery_init_sync_method=syncfs",
    ] {
        server.args(["-c", setting]);
    }
    let watchdog = Watchdog::new(&server, folder, Signal::Quit, user)?;
    watchdog.start()?;
    Ok(watchdog)
}

fn binaries() -> Result<PathBuf, String> {
    const ALL: &str = "initdb";
    let found = match env::var_os("MODELHUB_TEST_PG_BIN") {
        Some(folder) => Some(PathBuf::from(folder)).filter(|folder| folder.join(ALL).is_file()),
        None => lookup::on_path(ALL, &env::var_os("PATH").unwrap_or_default())
            .and_then(|program| program.parent().map(Path::to_owned))
            .or_else(|| lookup::newest(Path::new("/usr/lib/postgresql"), ALL)),
    };
    found.ok_or_else(|| {
        "PostgreSQL's server binaries were not found (looked on PATH and in /usr/lib/postgresql/*/bin, or only in \
         $MODELHUB_TEST_PG_BIN where that is set): apt-get install postgresql, or set DATABASE_URL"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Executor, PgConnection, Row};

    async fn rows(url: &str) -> Result<i64, sqlx::Error> {
        let mut connection = PgConnection::connect(url).await?;
        connection.fetch_one("SELECT count(*) FROM t").await?.try_get(0)
    }

    #[tokio::test]
    async fn databases_are_apart() {
        let (one, other) = tokio::join!(super::database(), super::database());
        assert_ne!(one.name(), other.name());
        let mut connection = PgConnection::connect(one.url()).await.expect("connected");
        connection.execute("CREATE TABLE t AS SELECT 1::numeric(38,12) AS amount").await.expect("created");
        assert_eq!(rows(one.url()).await.expect("read"), 1);
        rows(other.url()).await.expect_err("another database");
    }

    #[tokio::test]
    async fn what_was_committed_survives_a_crash() {
        let server = super::start().await;
        let database = server.database().await;
        let mut connection = PgConnection::connect(database.url()).await.expect("connected");
        connection.execute("CREATE TABLE t AS SELECT generate_series(1, 100)").await.expect("created");
        server.kill9().await;
        rows(database.url()).await.expect_err("nobody answers");
        server.start_again().await;
        assert_eq!(rows(database.url()).await.expect("read"), 100);
        server.stop().await;
        server.start_again().await;
        assert_eq!(rows(database.url()).await.expect("read"), 100);
    }
}
