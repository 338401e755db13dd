//! The official SDKs of `OpenAI`, as their users install them.

mod node;
mod python;

use std::path::PathBuf;
use std::process::Command;

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::announce;
use crate::failure::or_fail;

/// An SDK, and what runs scripts that use it.
#[derive(Debug)]
pub struct Sdk {
    /// The interpreter.
    program: PathBuf,
    /// What it is told before the script.
    arguments: &'static [&'static str],
    /// Where it runs: an import is looked for from there.
    folder: PathBuf,
    /// `3.54.0 (Python 3.11.7)`
    version: String,
}

impl Sdk {
    /// A command that runs `script`, in which the package `openai` can be imported.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments).arg(script).current_dir(&self.folder);
        // What is tested listens on this machine, whatever proxy leads away from it.
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        command
    }
}

/// The SDK for Python; installed on first use.
///
/// # Panics
///
/// When it cannot be had.
pub async fn python() -> &'static Sdk {
    static SHARED: OnceCell<Result<Sdk, String>> = OnceCell::const_new();
    get(&SHARED, "OpenAI's SDK for Python", python::install).await
}

/// The SDK for Node.js; installed on first use. Scripts are ES modules.
///
/// # Panics
///
/// When it cannot be had.
pub async fn node() -> &'static Sdk {
    static SHARED: OnceCell<Result<Sdk, String>> = OnceCell::const_new();
    get(&SHARED, "OpenAI's SDK for Node.js", node::install).await
}

async fn get(
    shared: &'static OnceCell<Result<Sdk, String>>,
    name: &'static str,
    install: fn() -> Result<Sdk, String>,
) -> &'static Sdk {
    let install = async || {
        let sdk = spawn_blocking(install).await.map_err(|error| error.to_string())??;
        announce::engine(name, &sdk.version);
        Ok(sdk)
    };
    or_fail(shared.get_or_init(install).await.as_ref())
}
