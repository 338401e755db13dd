//! LiteLLM's proxy, one worker, with a master key and without a database: it checks a key and passes on, and keeps no account
//! of what was spent.

use std::path::PathBuf;

use tempfile::TempDir;
use tests::process::Process;

use super::payload::{MODEL, UPSTREAM_MODEL};
use super::pinned;

/// The key that it is told to ask for.
pub(super) const KEY: &str = "sk-bench";

/// A running LiteLLM.
pub(super) struct LiteLlm {
    pub(super) address: String,
    pub(super) process: Process,
    _folder: TempDir,
}

/// Starts it.
pub(super) async fn start(python: &PathBuf, upstream: &str) -> anyhow::Result<LiteLlm> {
    let folder = tempfile::tempdir()?;
    let port = tests::port();
    let configuration = format!(
        "model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{UPSTREAM_MODEL}\n      \
         api_base: http://{upstream}/v1\n      api_key: none\ngeneral_settings:\n  master_key: {KEY}\n\
         litellm_settings:\n  telemetry: false\n"
    );
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, configuration)?;
    let mut command = pinned::command(pinned::PROXY, python);
    let program = python.with_file_name("litellm");
    command.arg(program).arg("--config").arg(file).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    // Nothing of it is to look for anything elsewhere.
    command.args(["--num_workers", "1"]).env("LITELLM_LOCAL_MODEL_COST_MAP", "True").env("LITELLM_LOG", "ERROR");
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let process = Process::start(&command);
    let address = format!("127.0.0.1:{port}");
    process.answers(&address, "/health/liveliness").await;
    Ok(LiteLlm { address, process, _folder: folder })
}
