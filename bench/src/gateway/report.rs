//! The tables: medians over the rounds, and what they are beside each other.

use std::collections::BTreeMap;

use super::load::Seen;
use super::{Part, Turn, payload};
use crate::table;

/// What stands beside the gateway.
const GATEWAY: &str = "modelhub gateway";
const NGINX: &str = "nginx";
const UNBILLED: &str = "its parts, unbilled";
const NO_PROXY: &str = "no proxy";

/// All turns so far.
#[derive(Default)]
pub(super) struct Report {
    turns: BTreeMap<(Part, &'static str), Vec<Turn>>,
    names: Vec<&'static str>,
    requests: BTreeMap<&'static str, u64>,
    /// Questions to the ledger, and the requests meanwhile.
    asked: BTreeMap<&'static str, (u64, u64)>,
}

impl Report {
    /// Counts requests that were answered, measured or not.
    pub(super) fn count(&mut self, name: &'static str, requests: u64) {
        *self.requests.entry(name).or_default() += requests;
    }

    /// All that were answered.
    pub(super) fn requests(&self, name: &str) -> u64 {
        self.requests.get(name).copied().unwrap_or_default()
    }

    pub(super) fn asked(&mut self, name: &'static str, questions: u64, requests: u64) {
        let asked = self.asked.entry(name).or_default();
        *asked = (asked.0 + questions, asked.1 + requests);
    }

    pub(super) fn add(&mut self, part: Part, name: &'static str, turn: Turn) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        self.turns.entry((part, name)).or_default().push(turn);
    }

    fn each(&self, part: Part, name: &'static str, of: impl Fn(&Turn) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.turns.get(&(part, name)).into_iter().flatten().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self, part: Part, name: &'static str, of: impl Fn(&Turn) -> f64) -> Option<f64> {
        let values = self.each(part, name, of);
        values.get(values.len() / 2).copied()
    }

    fn seen(&self, part: Part, name: &'static str, of: impl Fn(Seen) -> f64) -> Option<f64> {
        self.median(part, name, |turn| of(turn.seen))
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        self.work(Part::Work, "32 clients", "CPU µs/request", work)?;
        self.work(Part::Streams, "32 streams", "CPU µs/chunk", |turn| work(turn) / table::number(payload::CHUNKS))?;
        self.latencies()?;
        self.work(Part::Slow, "128 clients, 100 ms", "CPU µs/request", work)?;
        self.claims()
    }

    fn work(&self, part: Part, title: &str, unit: &str, of: fn(&Turn) -> f64) -> anyhow::Result<()> {
        let nginx = self.median(part, NGINX, of);
        let mut rows = vec![[title, unit, "lowest", "highest", "of nginx", "requests/s"].map(str::to_owned).to_vec()];
        for name in &self.names {
            let (values, rate) = (self.each(part, name, of), self.seen(part, name, rate));
            let (Some(median), Some(rate)) = (self.median(part, name, of), rate) else { continue };
            let is_proxy = *name != NO_PROXY;
            let shown = |value: Option<f64>| value.filter(|_| is_proxy).map_or("-".to_owned(), |v| format!("{v:.1}"));
            let of_nginx = nginx.filter(|_| is_proxy).map_or("-".to_owned(), |nginx| format!("{:.2}", median / nginx));
            let (lowest, highest) = (values.first().copied(), values.last().copied());
            rows.push(vec![
                (*name).to_owned(),
                shown(Some(median)),
                shown(lowest),
                shown(highest),
                of_nginx,
                table::whole(rate),
            ]);
        }
        show(&rows)
    }

    fn latencies(&self) -> anyhow::Result<()> {
        let titles = ["µs", "1 client p50", "added", "p99", "added", "200/s p50", "added", "p99", "added"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        for name in &self.names {
            let mut row = vec![(*name).to_owned()];
            for part in [Part::One, Part::Rate] {
                for of in [(|seen| seen.p50) as fn(Seen) -> f64, |seen| seen.p99] {
                    let Some(value) = self.seen(part, name, of) else { continue };
                    row.push(table::whole(value));
                    row.push(self.seen(part, NO_PROXY, of).map_or("-".into(), |none| table::whole(value - none)));
                }
            }
            if row.len() > 1 {
                rows.push(row);
            }
        }
        show(&rows)
    }

    /// What is said of the gateway in public, each beside what was measured.
    fn claims(&self) -> anyhow::Result<()> {
        let of =
            |part, of: fn(&Turn) -> f64, beside| Some(self.median(part, GATEWAY, of)? / self.median(part, beside, of)?);
        let added = |part, of: fn(Seen) -> f64| Some(self.seen(part, GATEWAY, of)? - self.seen(part, NO_PROXY, of)?);
        let throughput = |part| Some(self.seen(part, GATEWAY, rate)? / self.seen(part, UNBILLED, rate)?);
        let asked = self.asked.get(GATEWAY).map(|(asked, requests)| table::number(*asked) / table::number(*requests));
        let claims = [
            ("CPU µs a request", self.median(Part::Work, GATEWAY, work), "≤", 60.0),
            ("CPU of nginx's, a request", of(Part::Work, work, NGINX), "≤", 2.0),
            ("CPU of nginx's, a chunk", of(Part::Streams, work, NGINX), "≤", 2.0),
            ("added p50 µs, 1 client", added(Part::One, |seen| seen.p50), "≤", 100.0),
            ("added p99 µs, 1 client", added(Part::One, |seen| seen.p99), "≤", 400.0),
            ("added p99 µs, 200/s", added(Part::Rate, |seen| seen.p99), "≤", 1_000.0),
            ("requests/s of the unbilled, upstream at once", throughput(Part::Work), "≥", 0.95),
            ("requests/s of the unbilled, after 100 ms", throughput(Part::Slow), "≥", 0.95),
            ("questions to the ledger a request", asked, "≤", 0.01),
        ];
        let mut rows = vec![[GATEWAY, "measured", "target", ""].map(str::to_owned).to_vec()];
        for (what, measured, relation, target) in claims {
            let Some(measured) = measured else { continue };
            let is_met = if relation == "≤" { measured <= target } else { measured >= target };
            let measured = if measured < 10.0 { format!("{measured:.4}") } else { format!("{measured:.0}") };
            let verdict = if is_met { "met" } else { "not met" };
            rows.push(vec![what.to_owned(), measured, format!("{relation} {target}"), verdict.to_owned()]);
        }
        show(&rows)
    }
}

fn show(rows: &[Vec<String>]) -> anyhow::Result<()> {
    if rows.len() > 1 {
        table::print(rows)?;
        table::print(&[Vec::new()])?;
    }
    Ok(())
}

/// Processor time for a request, in microseconds.
fn work(turn: &Turn) -> f64 {
    turn.used.as_secs_f64() * 1e6 / table::number(turn.seen.requests)
}

fn rate(seen: Seen) -> f64 {
    table::number(seen.requests) / seen.seconds
}
