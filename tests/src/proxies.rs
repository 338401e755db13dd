//! Other proxies, for measurements to compare with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::or_fail;
use crate::temporary::output;
use crate::{cache, lookup};

/// The release of LiteLLM that is measured.
const LITELLM: &str = "1.106.2";

/// The program `nginx`: an installed one, else Debian's, which is unpacked into the cache and not installed.
///
/// # Panics
///
/// When it cannot be had.
pub fn nginx() -> PathBuf {
    or_fail(lookup::program("nginx", "MODELHUB_TEST_NGINX").map_or_else(unpack_nginx, Ok))
}

fn unpack_nginx() -> Result<PathBuf, String> {
    let failed =
        |error| format!("nginx was not found, and Debian's could not be fetched ({error}): apt-get install nginx");
    let unpack = |folder: &Path| {
        output(Command::new("apt-get").args(["download", "--quiet", "nginx"]).current_dir(folder))?;
        let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        let mut packages = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let package = packages.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        output(Command::new("dpkg").arg("-x").arg(package.ok_or("there is no package")?).arg(folder)).map(drop)
    };
    Ok(cache::folder("nginx-debian", unpack).map_err(failed)?.join("usr/sbin/nginx"))
}

/// The program `litellm`, LiteLLM's proxy, in a virtual environment of the cache, and its version.
///
/// # Panics
///
/// When it cannot be had.
pub fn litellm() -> (PathBuf, &'static str) {
    let install = |folder: &Path| {
        let python =
            lookup::program("python3", "MODELHUB_TEST_PYTHON").ok_or("apt-get install python3 python3-venv")?;
        output(Command::new(python).args(["-I", "-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--only-binary", ":all:"]);
        output(pip.arg(format!("litellm[proxy]=={LITELLM}")).current_dir(folder)).map(drop)
    };
    let failed = |error| format!("LiteLLM {LITELLM} could not be installed: {error}");
    let folder = or_fail(cache::folder(&format!("litellm-{LITELLM}"), install).map_err(failed));
    (folder.join("bin/python"), LITELLM)
}
