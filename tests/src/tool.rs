//! Programs of the system that tests run.

use std::path::PathBuf;

use crate::failure::or_fail;
use crate::lookup;

/// The program `curl`.
///
/// # Panics
///
/// When it is missing.
pub fn curl() -> PathBuf {
    or_fail(find("curl", "MODELHUB_TEST_CURL"))
}

/// The program `docker-compose`. It needs no Docker to read a file.
///
/// # Panics
///
/// When it is missing.
pub fn docker_compose() -> PathBuf {
    or_fail(find("docker-compose", "MODELHUB_TEST_DOCKER_COMPOSE"))
}

/// The program `openssl`.
///
/// # Panics
///
/// When it is missing.
pub fn openssl() -> PathBuf {
    or_fail(find("openssl", "MODELHUB_TEST_OPENSSL"))
}

/// A program whose Debian package has its name.
fn find(name: &str, only: &str) -> Result<PathBuf, String> {
    lookup::program(name, only).ok_or_else(|| {
        format!("{name} was not found (looked on PATH, or only at ${only} where that is set): apt-get install {name}")
    })
}
