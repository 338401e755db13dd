//! The SDK for Node.js.

use std::process::Command;

use super::Sdk;
use crate::temporary::output;
use crate::{cache, lookup, npm};

/// The newest that runs on `OLDEST`; it depends on no other package.
const VERSION: &str = "6.49.0";
/// What the SDK asks for.
const OLDEST: u32 = 20;

/// Looks for Node.js, and installs the SDK where that was not done yet.
///
/// # Errors
///
/// What is missing, or what failed.
pub(super) fn install() -> Result<Sdk, String> {
    let program = lookup::program("node", "MODELHUB_TEST_NODE").ok_or_else(|| {
        missing("node was not found (looked on PATH, or only at $MODELHUB_TEST_NODE where that is set)")
    })?;
    let told = output(Command::new(&program).arg("--version"))?;
    let told = told.trim().trim_start_matches('v');
    if lookup::version(told).first().is_none_or(|major| *major < OLDEST) {
        return Err(missing(&format!("{} is of version {told}, too old", program.display())));
    }
    let folder = cache::folder(&format!("openai-node-{VERSION}"), |folder| {
        let missing = "OpenAI's SDK for Node.js is not here yet, and npm was not found to download it (looked on PATH, \
                       or only at $MODELHUB_TEST_NPM where that is set): apt-get install npm";
        npm::install(folder, "openai", VERSION, missing)
    })?;
    Ok(Sdk {
        program,
        arguments: &["--input-type=module", "--eval"],
        folder,
        version: format!("{VERSION} (Node.js {told})"),
    })
}

fn missing(what: &str) -> String {
    format!("OpenAI's SDK needs Node.js {OLDEST} or newer; {what}: apt-get install nodejs npm")
}
