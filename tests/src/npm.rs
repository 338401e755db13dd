//! Packages of the npm registry.

use std::path::Path;
use std::process::Command;

use crate::lookup;
use crate::temporary::output;

/// Installs the version `version` of `package` into `folder/node_modules`. No script of the package is run.
///
/// # Errors
///
/// `missing` where there is no npm, else what npm says.
pub(crate) fn install(folder: &Path, package: &str, version: &str, missing: &str) -> Result<(), String> {
    let npm = lookup::program("npm", "MODELHUB_TEST_NPM").ok_or(missing)?;
    let mut command = Command::new(npm);
    command
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"])
        .arg(folder)
        .arg(format!("{package}@{version}"))
        .current_dir(folder);
    output(&mut command).map(drop).map_err(|error| format!("{package} {version} could not be downloaded: {error}"))
}
