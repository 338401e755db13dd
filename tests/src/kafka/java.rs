//! What it takes to run Kafka: Java, and Kafka's jars out of Maven Central.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::temporary::output;
use crate::{cache, lookup};

const POM: &str = include_str!("pom.xml");
/// What Kafka's server asks for.
const OLDEST_JAVA: u32 = 17;
const DOWNLOAD: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// A Java that Kafka runs on.
#[derive(Debug)]
pub(super) struct Java {
    /// The program.
    pub(super) program: PathBuf,
    /// `17.0.15`
    pub(super) version: String,
}

impl Java {
    /// Looks for Java and asks for its version.
    ///
    /// # Errors
    ///
    /// There is none, or it is too old.
    pub(super) fn find() -> Result<Self, String> {
        let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
        let of_home = home.filter(|program| program.is_file() && env::var_os("MODELHUB_TEST_JAVA").is_none());
        let program = of_home.or_else(|| lookup::program("java", "MODELHUB_TEST_JAVA")).ok_or_else(|| {
            missing("java was not found (looked in $JAVA_HOME and on PATH, or only at $MODELHUB_TEST_JAVA where set)")
        })?;
        let version = lookup::version(&output(Command::new(&program).arg("-version"))?);
        if version.first().is_none_or(|major| *major < OLDEST_JAVA) {
            return Err(missing(&format!("{} is of version {version:?}, too old", program.display())));
        }
        let version: Vec<String> = version.iter().map(u32::to_string).collect();
        Ok(Self { program, version: version.join(".") })
    }
}

fn missing(what: &str) -> String {
    format!(
        "Apache Kafka needs Java {OLDEST_JAVA} or newer; {what}: apt-get install openjdk-17-jre-headless, or set KAFKA_BROKERS"
    )
}

/// The folder with Kafka's jars, downloaded on first use.
///
/// # Errors
///
/// They are not there yet and Maven is missing or fails.
pub(super) fn jars() -> Result<PathBuf, String> {
    // Another pom is another folder, so that an old cache is no trap.
    let mut hasher = DefaultHasher::new();
    POM.hash(&mut hasher);
    cache::folder(&format!("kafka-{:016x}", hasher.finish()), download)
}

fn download(folder: &Path) -> Result<(), String> {
    let maven = lookup::program("mvn", "MODELHUB_TEST_MVN").ok_or(
        "Apache Kafka's jars are not here yet, and mvn was not found to download them (looked on PATH, or only at \
         $MODELHUB_TEST_MVN where that is set): apt-get install maven, or set KAFKA_BROKERS",
    )?;
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM).map_err(|error| format!("{}: {error}", pom.display()))?;
    let mut command = Command::new(maven);
    command.args(["-q", "-B", DOWNLOAD, "-DincludeScope=runtime", "-DoutputDirectory=."]).current_dir(folder);
    output(&mut command).map(drop).map_err(|error| format!("Apache Kafka could not be downloaded: {error}"))
}
