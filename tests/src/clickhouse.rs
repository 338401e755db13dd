//! `ClickHouse`: a server where one is installed, or else its engine as a library behind a front of ours.

mod library;
mod server;

use std::env;
use std::time::Duration;

use clickhouse::sql::Identifier;
use clickhouse::{Client, Compression};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::failure::or_fail;
use crate::process::answers;
use crate::temporary::tail;
use crate::watchdog::{Signal, Watchdog};
use crate::{announce, port, unique};

/// How long a start may take.
const LIMIT: Duration = Duration::from_mins(1);

/// An empty database that nobody else uses.
#[derive(Debug)]
pub struct Database {
    url: String,
    name: String,
    user: Option<String>,
    password: Option<String>,
}

impl Database {
    /// `http://host:port`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user, where the server at `CLICKHOUSE_URL` needs one: `CLICKHOUSE_USER`.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The user's password: `CLICKHOUSE_PASSWORD`.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// A client of this database.
    pub fn client(&self) -> Client {
        client(&self.url, self.user(), self.password()).with_database(&self.name)
    }
}

fn client(url: &str, user: Option<&str>, password: Option<&str>) -> Client {
    let mut client = Client::default().with_url(url).with_compression(Compression::None);
    if let Some(user) = user {
        client = client.with_user(user);
    }
    if let Some(password) = password {
        client = client.with_password(password);
    }
    client
}

/// A new database on the engine that this process's tests share, or on the server at `CLICKHOUSE_URL` (where it
/// stays), reached as `CLICKHOUSE_USER` with `CLICKHOUSE_PASSWORD` where those are set.
///
/// # Panics
///
/// When the engine cannot be had.
pub async fn database() -> Database {
    static SHARED: OnceCell<Result<Server, String>> = OnceCell::const_new();
    let server = SHARED
        .get_or_init(async || match env::var("CLICKHOUSE_URL") {
            Ok(url) => Server::at(url).await,
            Err(_) => Server::launch().await,
        })
        .await;
    or_fail(server.as_ref()).database().await
}

/// Starts an engine of the test's own, whatever `CLICKHOUSE_URL` says.
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
    url: String,
    user: Option<String>,
    password: Option<String>,
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
        let created = self.client().query("CREATE DATABASE ?").bind(Identifier(&name)).execute().await;
        or_fail(created.map_err(|error| format!("ClickHouse gives no new database: {error}")));
        Database { url: self.url.clone(), name, user: self.user.clone(), password: self.password.clone() }
    }

    /// Kills the engine as a crash would.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn kill9(&self) {
        self.end(Signal::Kill).await;
    }

    /// Asks the engine to end.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn stop(&self) {
        self.end(Signal::Terminate).await;
    }

    /// Starts the engine again after it was stopped or killed: the same port, the same databases.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn start_again(&self) {
        if let Some(watchdog) = &self.watchdog {
            or_fail(watchdog.start());
            or_fail(ready(&self.url, watchdog).await);
        }
    }

    async fn end(&self, signal: Signal) {
        if let Some(watchdog) = &self.watchdog {
            or_fail(watchdog.signal(signal));
            or_fail(watchdog.exit(LIMIT).await.map_err(|error| format!("ClickHouse: {error}")));
        }
    }

    fn client(&self) -> Client {
        client(&self.url, self.user.as_deref(), self.password.as_deref())
    }

    async fn at(url: String) -> Result<Self, String> {
        let (user, password) = (env::var("CLICKHOUSE_USER").ok(), env::var("CLICKHOUSE_PASSWORD").ok());
        let server = Self { url, user, password, watchdog: None };
        server.announce(" (CLICKHOUSE_URL)").await?;
        Ok(server)
    }

    async fn launch() -> Result<Self, String> {
        let port = port();
        let prepare = move || match server::find()? {
            Some(program) => Ok::<_, String>((server::launch(&program, port)?, "")),
            None => Ok((library::launch(port)?, " (libchdb behind clickhouse-front)")),
        };
        let (watchdog, kind) = spawn_blocking(prepare).await.map_err(|error| error.to_string())??;
        let url = format!("http://127.0.0.1:{port}");
        ready(&url, &watchdog).await?;
        let server = Self { url, user: None, password: None, watchdog: Some(watchdog) };
        server.announce(kind).await?;
        Ok(server)
    }

    async fn announce(&self, kind: &str) -> Result<(), String> {
        // As bytes, because rows are checked against a table's columns, and there is no table.
        let version = async {
            let mut answer = self.client().query("SELECT version()").fetch_bytes("TabSeparated")?;
            answer.collect().await
        };
        let version = version.await.map_err(|error| format!("ClickHouse at {} does not answer: {error}", self.url))?;
        let version = String::from_utf8_lossy(&version);
        announce::engine("ClickHouse", &format!("{}{kind} at {}", version.trim(), self.url));
        Ok(())
    }
}

async fn ready(url: &str, watchdog: &Watchdog) -> Result<(), String> {
    let deadline = Instant::now() + LIMIT;
    while !answers(url.trim_start_matches("http://"), "/ping").await {
        if watchdog.pid().is_none() || Instant::now() > deadline {
            return Err(format!("ClickHouse does not come up: {}", tail(&watchdog.stderr())));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
