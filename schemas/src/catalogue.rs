//! The catalogue: plans and models with their prices. Data, not code: `modelhub.toml` overrides the built-in defaults.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Usd;
use crate::usage::Price;

/// A plan's terms, as events pin them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanTerms {
    /// The plan's id in the catalogue.
    pub id: String,
    /// Price of a month.
    pub price_usd: Usd,
    /// Tokens included in a month.
    pub tokens_per_month: u64,
    /// The most unused tokens that carry into the next month.
    pub rollover_tokens: u64,
    /// Requests admitted in a minute, over all keys.
    pub requests_per_minute: u32,
    /// Requests running at once, over all keys.
    pub max_in_flight: u32,
    /// Keys that may be live at once; no limit where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u32>,
    /// One-time credit for a verified e-mail.
    pub trial_credit_usd: Usd,
}

/// A model on sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What clients call it.
    pub id: String,
    /// Which upstream answers, by name.
    pub upstream: String,
    /// What that upstream calls it; the same, where absent.
    #[serde(default)]
    pub upstream_model: Option<String>,
    /// Who is asked, in this order, where that upstream fails before its answer has begun. The price stays this model's.
    #[serde(default)]
    pub fallbacks: Vec<Fallback>,
    /// Prompt and completion together, in tokens.
    pub context_tokens: u64,
    /// The most completion tokens of one answer.
    pub max_output_tokens: u64,
    /// List price.
    pub price: Price,
}

/// Another upstream that has a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Which upstream answers, by name.
    pub upstream: String,
    /// What that upstream calls the model; the model's id, where absent.
    #[serde(default)]
    pub upstream_model: Option<String>,
}

impl Model {
    /// The upstreams that have it, best first, each with what it calls the model.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        let first = (self.upstream.as_str(), self.upstream_model.as_deref());
        let others = self.fallbacks.iter().map(|other| (other.upstream.as_str(), other.upstream_model.as_deref()));
        std::iter::once(first).chain(others).map(|(upstream, model)| (upstream, model.unwrap_or(&self.id)))
    }
}

/// Plans and models by id.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Catalogue {
    /// Plans by id.
    pub plans: BTreeMap<String, PlanTerms>,
    /// Models by id.
    pub models: BTreeMap<String, Model>,
    /// Requests that an account which has ever paid may make in a minute, where its plan allows fewer.
    pub paid_requests_per_minute: u32,
}
