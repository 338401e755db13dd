//! What a request costs the gateway, beside others that pass the same requests on to the same upstream.

mod ledger_proxy;
mod litellm;
pub(crate) mod load;
mod modelhub;
mod nginx;
mod payload;
mod pinned;
pub(crate) mod plain;
mod report;
pub(crate) mod upstream;
mod wire;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use tests::process::Process;
use tokio::time::{sleep, timeout};

use self::load::Seen;
use self::modelhub::Installation;
use self::report::Report;
use crate::{cpu, table};

/// How long one part may take before it counts as stuck.
const LIMIT: Duration = Duration::from_mins(1);
/// Clients at once where work is measured.
const CLIENTS: u32 = 32;
/// Clients at once where the upstream takes its time.
const MANY_CLIENTS: u32 = 128;
/// Requests a second where only the time is.
const RATE: u32 = 200;
/// What is still written, or passed to the log, after the last answer counts as well.
const SETTLES_WITHIN: Duration = Duration::from_millis(300);

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Options {
    /// How often each proxy gets its turn in each part; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// For how long each proxy gets requests in a turn.
    #[arg(long, default_value_t = 3_000)]
    milliseconds: u64,
    /// Leaves out nginx.
    #[arg(long)]
    without_nginx: bool,
    /// Leaves out LiteLLM's proxy.
    #[arg(long)]
    without_litellm: bool,
    /// Leaves out the gateway with services and engines of its own.
    #[arg(long)]
    without_distributed: bool,
    /// Leaves out streams and latencies: only processor time for a whole answer.
    #[arg(long)]
    only_work: bool,
    /// The `modelhub` to measure, instead of building this checkout's.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Another `modelhub`, whose gateway is measured beside it.
    #[arg(long)]
    beside: Option<PathBuf>,
}

/// Who passes requests on.
struct Subject {
    name: &'static str,
    address: String,
    streams: String,
    key: Option<String>,
    /// What an answer has that passed it.
    expect: &'static str,
    /// None for the upstream itself.
    pid: Option<u32>,
    /// Whether it is so slow that its work alone is measured.
    is_slow: bool,
}

/// A kind of load.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Whole answers, as fast as they come.
    Work,
    /// Whole answers to one client.
    One,
    /// Whole answers at fixed times.
    Rate,
    /// Streams.
    Streams,
    /// Whole answers of an upstream that takes its time, to many clients.
    Slow,
}

/// One turn of one proxy.
struct Turn {
    seen: Seen,
    used: Duration,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let program = match &options.program {
        Some(program) => std::path::absolute(program)?,
        None => modelhub::build()?,
    };
    // After the build, which takes all processors that there are.
    pinned::this_process(pinned::OTHERS)?;
    let upstream = format!("127.0.0.1:{}", tests::port());
    let upstream_process = own(pinned::before_others, &["gateway-upstream", &upstream])?;
    upstream_process.answers(&upstream, "/").await;
    let plain = format!("127.0.0.1:{}", tests::port());
    let on_its_own = |program: PathBuf| pinned::command(pinned::PROXY, program);
    let plain_process = own(on_its_own, &["gateway-plain", &plain, &upstream])?;
    plain_process.answers(&plain, "/healthz").await;
    let mut installations = Vec::new();
    if !options.without_distributed {
        installations.push(("modelhub gateway", Installation::distributed(&program, &upstream).await?));
    }
    if let Some(other) = &options.beside {
        let other = std::path::absolute(other)?;
        installations.push(("the other gateway", Installation::distributed(&other, &upstream).await?));
    }
    installations.push(("modelhub serve", Installation::embedded(&program, &upstream).await?));
    let nginx = match options.without_nginx {
        true => None,
        false => Some(nginx::start(&tests::proxies::nginx(), &upstream).await?),
    };
    let litellm = match options.without_litellm {
        true => None,
        false => Some(litellm::start(&tests::proxies::litellm().0, &upstream).await?),
    };

    let mut subjects = Vec::new();
    for (name, installation) in &installations {
        let (address, key) = (installation.address.clone(), installation.key.clone());
        let mut subject = Subject::new(name, &address, installation.pid()?, "\"cost_usd\":0.000054}");
        subject.key = Some(key);
        subjects.push(subject);
    }
    subjects.push(Subject::new("its parts, unbilled", &plain, plain_process.pid().context("it has ended")?, "usage"));
    if let Some(nginx) = &nginx {
        let mut subject =
            Subject::new("nginx", &nginx.address, nginx.process.pid().context("nginx has ended")?, "usage");
        subject.streams.clone_from(&nginx.streams);
        subjects.push(subject);
    }
    subjects.push(Subject { pid: None, ..Subject::new("no proxy", &upstream, 0, "usage") });
    if let Some(litellm) = &litellm {
        let pid = litellm.process.pid().context("LiteLLM has ended")?;
        let mut subject = Subject::new("LiteLLM", &litellm.address, pid, "usage");
        (subject.key, subject.is_slow) = (Some(litellm::KEY.to_owned()), true);
        subjects.push(subject);
    }

    let mut before = Vec::new();
    for (_, installation) in &installations {
        before.push(installation.balance_pico().await?);
    }
    let mut report = Report::default();
    let parts = if options.only_work {
        vec![Part::Work]
    } else {
        vec![Part::Work, Part::Streams, Part::One, Part::Rate, Part::Slow]
    };
    for part in parts {
        for subject in &subjects {
            report.count(subject.name, subject.turn(part, Duration::from_millis(500)).await?.seen.requests);
        }
        for round in 1..=options.rounds {
            table::note(&format!("{}, round {round}", part.name()))?;
            for subject in subjects.iter().filter(|subject| part == Part::Work || !subject.is_slow) {
                let asked = installations.iter().find(|(name, _)| *name == subject.name);
                let asked = asked.and_then(|(_, installation)| installation.asked.clone());
                let questions = asked.as_ref().map_or(0, ledger_proxy::Asked::count);
                let turn = subject.turn(part, Duration::from_millis(options.milliseconds)).await?;
                report.count(subject.name, turn.seen.requests);
                if let Some(asked) = asked.filter(|_| part == Part::Work) {
                    report.asked(subject.name, asked.count() - questions, turn.seen.requests);
                }
                report.add(part, subject.name, turn);
            }
        }
    }
    report.print()?;
    for ((name, installation), before) in installations.iter().zip(before) {
        let charged = payload::COST_PICO * i64::try_from(report.requests(name))?;
        verify(installation, before - charged).await.context(*name)?;
        table::note(&format!("{name}: {} requests, each charged once, to the last digit", report.requests(name)))?;
    }
    Ok(())
}

/// What was measured is worth nothing where it was not billed: the balance must become that, once the ledger has it all.
async fn verify(installation: &Installation, expected_pico: i64) -> anyhow::Result<()> {
    let mut balance = 0;
    let becomes = async {
        loop {
            balance = installation.balance_pico().await?;
            if balance == expected_pico {
                return anyhow::Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    let became = timeout(LIMIT, becomes).await;
    became.with_context(|| format!("the balance is {balance} instead of {expected_pico} (10⁻¹² USD)"))?
}

/// This program again, as a process of its own.
fn own(pinned: impl Fn(PathBuf) -> Command, arguments: &[&str]) -> anyhow::Result<Process> {
    let mut command = pinned(std::env::current_exe().context("this program's own path")?);
    command.args(arguments);
    Ok(Process::start(&command))
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Work => "32 clients",
            Self::One => "1 client",
            Self::Rate => "200 requests a second",
            Self::Streams => "32 streams",
            Self::Slow => "128 clients, 100 ms",
        }
    }
}

impl Subject {
    fn new(name: &'static str, address: &str, pid: u32, expect: &'static str) -> Self {
        let (address, streams) = (address.to_owned(), address.to_owned());
        Self { name, address, streams, key: None, expect, pid: Some(pid), is_slow: false }
    }

    /// Gives it requests for so long, and tells what the clients saw and what it used.
    async fn turn(&self, part: Part, time: Duration) -> anyhow::Result<Turn> {
        let processor = |pid: Option<u32>| pid.map(cpu::of).unwrap_or_default();
        let before = processor(self.pid);
        let program = std::env::current_exe().context("this program's own path")?;
        let mut load = tokio::process::Command::from(pinned::before_others(program));
        let address = if part == Part::Streams { &self.streams } else { &self.address };
        let clients = match part {
            Part::One => 1,
            Part::Slow => MANY_CLIENTS,
            _ => CLIENTS,
        };
        load.args(["gateway-load", address, "--expect", self.expect, "--clients", &clients.to_string()]);
        load.args(["--milliseconds", &time.as_millis().to_string()]);
        if let Some(key) = &self.key {
            load.args(["--key", key]);
        }
        if part == Part::Rate {
            load.args(["--rate", &RATE.to_string()]);
        }
        if part == Part::Streams {
            load.arg("--stream");
        }
        if part == Part::Slow {
            load.arg("--slowly");
        }
        let output = timeout(time + LIMIT, load.kill_on_drop(true).output()).await;
        let output = output.with_context(|| format!("{} is stuck", self.name))??;
        ensure!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        let seen = serde_json::from_slice(&output.stdout)?;
        sleep(SETTLES_WITHIN).await;
        Ok(Turn { seen, used: processor(self.pid).saturating_sub(before) })
    }
}
