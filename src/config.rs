//! `modelhub.toml` and the environment, read once at start. Whatever makes no sense is an error that names its key.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use schemas::Usd;
use schemas::catalogue::{Catalogue, Model, PlanTerms};
use schemas::config::{Config, Idempotency};

/// The file that is read where none is named.
const FILE: &str = "modelhub.toml";
/// The upstream that is there without being configured.
pub(crate) const DEMO_UPSTREAM: &str = "demo";

/// Variables of the environment that share the prefix and are no configuration keys.
const NOT_KEYS: [&str; 2] = ["config", "log"];
/// Those of the tests' engines.
const NOT_KEYS_PREFIX: &str = "test_";

/// What a usage event has room for, in the names of its model and upstream.
const MAX_NAMES_BYTES: usize = 2_000;

/// Keys that hold secrets.
const SECRETS: [&str; 4] = ["key_pepper", "ledger.secret", "postgres.url", "clickhouse.password"];

/// The configuration and the catalogue that it leads to.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) catalogue: Catalogue,
}

/// Reads the configuration: the file (`--config`, else `modelhub.toml` in the current folder where there is one), then
/// `MODELHUB_…` variables over it.
pub(crate) fn load(file: Option<&Path>) -> Result<Loaded> {
    let mut figment = Figment::new();
    match file {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            figment = figment.merge(Toml::string(&text));
        }
        None if Path::new(FILE).exists() => figment = figment.merge(Toml::file_exact(FILE)),
        None => {}
    }
    let env = Env::prefixed("MODELHUB_").filter(|key| !key.starts_with(NOT_KEYS_PREFIX)).ignore(&NOT_KEYS).split("__");
    let figment = secrets(figment.merge(env), |name| std::env::var(name).ok());
    let config: Config = figment.extract().map_err(|error| anyhow::anyhow!("configuration: {error}"))?;
    check_secrets(&config)?;
    check_kafka(&config)?;
    let (bytes, least) = (config.spool.max_bytes, eventlog::spool::MIN_BYTES);
    ensure!(bytes >= least, "spool.max_bytes is {bytes}; it must be at least {least}");
    check_idempotency(&config)?;
    let catalogue = catalogue(&config)?;
    Ok(Loaded { config, catalogue })
}

/// Reads secrets from the environment as the texts that they are: a password may look like a number.
fn secrets(figment: Figment, variable: impl Fn(&str) -> Option<String>) -> Figment {
    SECRETS.iter().fold(figment, |figment, key| {
        let name = format!("MODELHUB_{}", key.replace('.', "__").to_uppercase());
        match variable(&name) {
            Some(secret) => figment.merge(Serialized::default(key, secret)),
            None => figment,
        }
    })
}

/// An empty secret is one that everybody knows.
fn check_secrets(config: &Config) -> Result<()> {
    for (key, secret) in [("key_pepper", &config.key_pepper), ("ledger.secret", &config.ledger.secret)] {
        let empty = secret.as_ref().is_some_and(|secret| secret.expose().trim().is_empty());
        ensure!(!empty, "{key} is empty; set it to a long random text, such as `openssl rand -hex 32` prints");
    }
    Ok(())
}

/// What no client of Kafka would start with.
fn check_kafka(config: &Config) -> Result<()> {
    if let Some(kafka) = &config.kafka {
        let (timeout, range) = (kafka.session_timeout_ms, 1_000..=300_000);
        let known = range.contains(&timeout);
        ensure!(known, "kafka.session_timeout_ms is {timeout}; it must be {} to {}", range.start(), range.end());
    }
    Ok(())
}

fn check_idempotency(config: &Config) -> Result<()> {
    let (bytes, most) = (config.idempotency.max_answer_bytes, Idempotency::MAX_ANSWER_BYTES);
    ensure!(bytes <= most, "idempotency.max_answer_bytes is {bytes}; it can be {most} at most");
    let (hold, range) = (config.idempotency.hold_ms, 1_000..=600_000);
    ensure!(range.contains(&hold), "idempotency.hold_ms is {hold}; it must be {} to {}", range.start(), range.end());
    let (wait, most) = (config.idempotency.wait_ms, 600_000);
    ensure!(wait <= most, "idempotency.wait_ms is {wait}; it can be {most} at most");
    Ok(())
}

fn defaults() -> Result<Config> {
    Figment::new().merge(Toml::string(include_str!("config/defaults.toml"))).extract().context("the built-in defaults")
}

fn catalogue(config: &Config) -> Result<Catalogue> {
    let defaults = defaults()?;
    let paid_requests_per_minute = config.paid_requests_per_minute;
    let mut catalogue = Catalogue { paid_requests_per_minute, ..Catalogue::default() };
    for plan in defaults.plans.into_iter().chain(config.plans.iter().cloned()) {
        let id = plan.id.clone();
        let terms = plan.on(catalogue.plans.get(&id)).with_context(|| {
            format!("plans: `{id}` is a new plan and must have every term (all but max_keys are required)")
        })?;
        check_plan(&terms)?;
        catalogue.plans.insert(id, terms);
    }
    let models = if config.models.is_empty() { &defaults.models } else { &config.models };
    for model in models {
        check_model(model, config)?;
        let twice = catalogue.models.insert(model.id.clone(), model.clone()).is_some();
        ensure!(!twice, "models: `{}` is there twice; give each model an id of its own", model.id);
    }
    let mut names: Vec<_> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    names.sort_unstable();
    if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next) {
        bail!("upstreams: `{twice}` is there twice; give each upstream a name of its own");
    }
    ensure!(!names.contains(&DEMO_UPSTREAM), "upstreams: `{DEMO_UPSTREAM}` is the built-in one; choose another name");
    Ok(catalogue)
}

fn check_plan(terms: &PlanTerms) -> Result<()> {
    for (key, value) in [("price_usd", terms.price_usd), ("trial_credit_usd", terms.trial_credit_usd)] {
        ensure!(value >= Usd::ZERO, "plans: `{}`: {key} is {value}; it can't be negative", terms.id);
        ensure!(value.as_decimal().scale() <= 2, "plans: `{}`: {key} is {value}; it has at most 2 decimals", terms.id);
    }
    Ok(())
}

fn check_model(model: &Model, config: &Config) -> Result<()> {
    let mut asked = Vec::new();
    for (upstream, _) in model.routes() {
        let known = upstream == DEMO_UPSTREAM || config.upstreams.iter().any(|u| u.name == upstream);
        ensure!(
            known,
            "models: `{}`: upstream `{upstream}` is none of [[upstreams]] and not the built-in `{DEMO_UPSTREAM}`",
            model.id,
        );
        ensure!(
            !asked.contains(&upstream),
            "models: `{}`: upstream `{upstream}` is there twice; a request asks each upstream once",
            model.id
        );
        asked.push(upstream);
    }
    ensure!(!model.id.is_empty(), "models: a model has an empty id");
    let names = model.id.len() + asked.iter().map(|name| name.len()).max().unwrap_or_default();
    ensure!(
        names <= MAX_NAMES_BYTES,
        "models: `{}`: its id and its upstream's name have {names} bytes; together they can have {MAX_NAMES_BYTES}",
        model.id
    );
    for (key, value) in [("context_tokens", model.context_tokens), ("max_output_tokens", model.max_output_tokens)] {
        let range = 1..=schemas::usage::MAX_TOKENS;
        ensure!(range.contains(&value), "models: `{}`: {key} is {value}; it must be 1 to {}", model.id, range.end());
    }
    let price = &model.price;
    ensure!(
        price.cached_input <= price.input,
        "models: `{}`: price.cached_input is {}, above price.input, {}; a hold is for a prompt of which nothing is cached",
        model.id,
        price.cached_input,
        price.input
    );
    Ok(())
}

#[cfg(test)]
mod tests;
