//! The SDK for Python, in a virtual environment.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

use super::Sdk;
use crate::temporary::output;
use crate::{cache, lookup};

/// The SDK and all that it depends on, each at one version.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// An older Python needs packages that are not among `REQUIREMENTS`.
const OLDEST: [u32; 2] = [3, 11];
/// Prints the version and the program; fails where Debian's python3 came without python3-venv.
const QUESTION: &str = "import sys, ensurepip, venv; print(sys.version.split()[0], sys.executable)";

/// Looks for Python, and installs the SDK where that was not done yet.
///
/// # Errors
///
/// What is missing, or what failed.
pub(super) fn install() -> Result<Sdk, String> {
    let program = lookup::program("python3", "MODELHUB_TEST_PYTHON").ok_or_else(|| {
        missing("python3 was not found (looked on PATH, or only at $MODELHUB_TEST_PYTHON where that is set)")
    })?;
    let told = output(Command::new(&program).args(["-I", "-c", QUESTION]))
        .map_err(|error| missing(error.lines().last().unwrap_or_default()))?;
    let version = told.split_whitespace().next().unwrap_or_default();
    if lookup::version(version).as_slice() < OLDEST.as_slice() {
        return Err(missing(&format!("{} is of version {version}, too old", program.display())));
    }
    // An environment belongs to one Python; and other requirements are another environment.
    let mut hasher = DefaultHasher::new();
    (REQUIREMENTS, &told).hash(&mut hasher);
    let name = format!("openai-python-{:016x}", hasher.finish());
    let folder = cache::folder(&name, |folder| {
        environment(&program, folder)
            .map_err(|error| format!("OpenAI's SDK for Python could not be installed: {error}"))
    })?;
    let sdk = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("openai==")).unwrap_or_default();
    Ok(Sdk {
        program: folder.join("bin/python"),
        arguments: &["-I", "-c"],
        version: format!("{sdk} (Python {version})"),
        folder,
    })
}

fn environment(python: &Path, folder: &Path) -> Result<(), String> {
    output(Command::new(python).args(["-I", "-m", "venv"]).arg(folder))?;
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let pip = |arguments: &[&str]| {
        let mut command = Command::new(folder.join("bin/python"));
        output(command.args(["-m", "pip", "--disable-pip-version-check"]).args(arguments).current_dir(folder))
    };
    pip(&["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--requirement", "requirements.txt"])?;
    pip(&["check"]).map(drop)
}

fn missing(what: &str) -> String {
    let [major, minor] = OLDEST;
    format!("OpenAI's SDK needs Python {major}.{minor} or newer; {what}: apt-get install python3 python3-venv")
}
