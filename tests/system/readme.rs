//! The README: each of its commands is run as it stands there, or is known to be run elsewhere.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tests::process::Process;

const README: &str = include_str!("../../README.md");
/// What `cargo run` would build.
const BINARY: &str = env!("CARGO_BIN_EXE_modelhub");

/// Commands that no test can run, each with why it may be trusted.
const RUN_ELSEWHERE: [(&str, &str); 3] = [
    ("cargo test --workspace", "CI runs it; this test is part of it"),
    ("docker compose up --build --detach", "it needs Docker; docker-compose checks the file in compose.rs"),
    (
        "docker compose exec ledger modelhub admin open-account --email owner@example.com",
        "it needs Docker; the command itself is run on the embedded system",
    ),
];

/// The contents of the README's blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let parts = README.split("\n```").collect::<Vec<_>>();
    assert!(parts.len() % 2 == 1, "a block is not closed");
    // Text and blocks take turns.
    let blocks = parts.iter().skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

fn commands() -> Vec<String> {
    let joined = blocks("sh").join("\n").replace("\\\n", " ");
    let commands = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    commands.map(str::to_owned).collect()
}

/// Someone who follows the README, in an empty folder.
struct Reader {
    folder: TempDir,
    address: String,
    server: Option<Process>,
    key: String,
    account: String,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("127.0.0.1:{}", tests::port());
        Self { folder, address, server: None, key: String::new(), account: String::new() }
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(self.folder.path()).env("MODELHUB_LISTEN", &self.address).env("NO_PROXY", "127.0.0.1");
        command.env("MODELHUB_METRICS__LISTEN", "127.0.0.1:0");
        command
    }

    /// A line of the README with this reader's values in the places of its examples.
    fn fill_in(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (placeholder, value) in
            [("127.0.0.1:8080", &self.address), ("YOUR_API_KEY", &self.key), ("YOUR_ACCOUNT", &self.account)]
        {
            assert!(!line.contains(placeholder) || !value.is_empty(), "{line}: where does {placeholder} come from?");
            line = line.replace(placeholder, value);
        }
        line
    }

    async fn follow(&mut self, line: &str) {
        let filled_in = self.fill_in(line);
        if filled_in == "cargo run --release" {
            self.serve().await;
        } else if let Some(arguments) = filled_in.strip_prefix("cargo run --release -- rebuild ") {
            self.without_server(&format!("{BINARY} rebuild {arguments}")).await;
        } else if let Some(arguments) = filled_in.strip_prefix("cargo run --release -- ") {
            let printed = self.run(&format!("{BINARY} {arguments}")).await;
            if let Some(account) = printed.lines().find_map(|line| line.strip_prefix("account ")) {
                account.trim().clone_into(&mut self.account);
            }
        } else if let Some(request) = filled_in.strip_prefix("curl ") {
            self.run(&format!("{} --fail-with-body --silent --show-error {request}", tests::tool::curl().display()))
                .await;
        } else if filled_in.starts_with("printf ") {
            tests::tool::openssl();
            self.run(&filled_in).await;
        } else {
            let known = RUN_ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == line);
            assert!(known, "nothing runs this command of the README: {line}");
        }
    }

    /// Runs a line while the server is stopped, as the README says to.
    async fn without_server(&self, line: &str) {
        let server = self.server.as_ref().expect("a server");
        assert_eq!(server.terminate().await, 0, "{}", server.stderr());
        self.run(line).await;
        server.start_again();
        server.answers(&self.address, "/readyz").await;
    }

    /// Runs a line of shell and gives what it printed.
    async fn run(&self, line: &str) -> String {
        let process = Process::start(self.command("sh").args(["-euc", line]));
        assert_eq!(process.exit().await, 0, "{line}: {}{}", process.stdout(), process.stderr());
        process.stdout()
    }

    async fn serve(&mut self) {
        let process = Process::start(&self.command(BINARY));
        process.answers(&self.address, "/readyz").await;
        let line = process.line("Authorization: Bearer ").await;
        let (_, key) = line.split_once("Bearer ").expect("a key");
        key.split('"').next().expect("a key").clone_into(&mut self.key);
        self.server = Some(process);
    }
}

#[tokio::test]
async fn its_commands_work_in_the_order_they_stand_there() {
    let mut reader = Reader::new();
    for line in commands() {
        reader.follow(&line).await;
    }
    for (line, why) in RUN_ELSEWHERE {
        assert!(commands().iter().any(|command| command == line), "{line} ({why}) is no longer in the README");
    }
    let secrets = std::fs::read_to_string(reader.folder.path().join(".env")).expect(".env");
    let output = crate::compose::config(&secrets);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(reader.server.is_some_and(|server| server.pid().is_some()), "the server no longer runs");
}

#[tokio::test]
async fn its_configuration_is_accepted() {
    let reader = Reader::new();
    let [configuration] = blocks("toml")[..] else { panic!("one configuration") };
    std::fs::write(reader.folder.path().join("modelhub.toml"), configuration).expect("a file");
    let server = Process::start(reader.command(BINARY).env("DEEPSEEK_API_KEY", "a key"));
    server.answers(&reader.address, "/readyz").await;
}

#[tokio::test]
#[should_panic(expected = "nothing runs this command of the README: make install")]
async fn a_command_that_nothing_runs_is_told() {
    Reader::new().follow("make install").await;
}

#[tokio::test]
#[should_panic(expected = "invalid value 'nobody'")]
async fn a_command_that_fails_is_told() {
    Reader::new().follow("cargo run --release -- admin balance --account nobody").await;
}
