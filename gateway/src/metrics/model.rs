//! What is counted of each model in the catalogue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Error, IntCounter, IntCounterVec, Registry, register_int_counter_vec_with_registry};
use schemas::Usd;
use schemas::catalogue::Catalogue;
use schemas::event::{Accuracy, Outcome};

use super::{Ended, show};

const OUTCOMES: [Outcome; 4] = [Outcome::Completed, Outcome::ClientGone, Outcome::UpstreamFailed, Outcome::Cut];
const ACCURACIES: [Accuracy; 2] = [Accuracy::Measured, Accuracy::Estimated];
const TOKENS: [&str; 4] = ["prompt", "cached_prompt", "completion", "reasoning"];

const PICO_OF_MICRO: u64 = 1_000_000;

/// All models of the catalogue.
pub(super) struct Models(BTreeMap<String, OfModel>);

/// The series of one model.
pub(super) struct OfModel {
    /// By outcome and accuracy.
    ended: [[IntCounter; 2]; 4],
    tokens: [IntCounter; 4],
    list: Money,
    credit: Money,
}

impl Models {
    pub(super) fn new(registry: &Registry, catalogue: &Catalogue) -> Result<Self, Error> {
        let ended = register_int_counter_vec_with_registry!(
            "modelhub_requests_total",
            "Admitted requests that ended and are recorded, by outcome and by whose count of tokens is charged.",
            &["model", "outcome", "accuracy"],
            registry
        )?;
        let tokens = register_int_counter_vec_with_registry!(
            "modelhub_tokens_total",
            "Tokens of recorded requests. Cached prompt tokens are prompt tokens, too, and reasoning is a part of completion.",
            &["model", "kind"],
            registry
        )?;
        let list = register_int_counter_vec_with_registry!(
            "modelhub_list_price_microusd_total",
            "What recorded requests cost at list price, in whole millionths of a US dollar.",
            &["model"],
            registry
        )?;
        let credit = register_int_counter_vec_with_registry!(
            "modelhub_credit_microusd_total",
            "What of that was charged to credit, plan tokens covering the rest, in whole millionths of a US dollar.",
            &["model"],
            registry
        )?;
        let model = |id: &str| OfModel {
            ended: OUTCOMES.map(|outcome| {
                ACCURACIES.map(|accuracy| ended.with_label_values(&[id, outcome.as_str(), accuracy.as_str()]))
            }),
            tokens: TOKENS.map(|kind| tokens.with_label_values(&[id, kind])),
            list: Money::new(&list, id),
            credit: Money::new(&credit, id),
        };
        Ok(Self(catalogue.models.keys().map(|id| (id.clone(), model(id))).collect()))
    }

    pub(super) fn get(&self, model: &str) -> Option<&OfModel> {
        self.0.get(model)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &OfModel> {
        self.0.values()
    }
}

impl OfModel {
    pub(super) fn ended(&self, ended: &Ended<'_>) {
        let outcome = match ended.ending.outcome {
            Outcome::Completed => 0,
            Outcome::ClientGone => 1,
            Outcome::UpstreamFailed => 2,
            Outcome::Cut => 3,
        };
        let accuracy = match ended.ending.accuracy {
            Accuracy::Measured => 0,
            Accuracy::Estimated => 1,
        };
        self.ended[outcome][accuracy].inc();
        let tokens = ended.ending.tokens;
        let counts = [tokens.prompt, tokens.cached_prompt, tokens.completion, tokens.reasoning];
        for (counter, count) in self.tokens.iter().zip(counts) {
            counter.inc_by(count);
        }
        self.list.add(ended.list_usd);
        self.credit.add(ended.credit_usd);
    }

    pub(super) fn refresh(&self) {
        self.list.refresh();
        self.credit.refresh();
    }
}

/// Money, summed up exactly in units of 10⁻¹² USD and shown in whole millionths: a sample of Prometheus is exact up to
/// 2⁵³. After 18 million USD in one process the sum begins anew, which reads as a restart.
struct Money {
    pico: AtomicU64,
    shown: IntCounter,
}

impl Money {
    fn new(counters: &IntCounterVec, model: &str) -> Self {
        Self { pico: AtomicU64::new(0), shown: counters.with_label_values(&[model]) }
    }

    fn add(&self, usd: Usd) {
        let pico = usd.to_pico().and_then(|pico| u64::try_from(pico).ok()).unwrap_or_default();
        self.pico.fetch_add(pico, Ordering::Relaxed);
    }

    fn refresh(&self) {
        show(&self.shown, self.pico.load(Ordering::Relaxed) / PICO_OF_MICRO);
    }
}

#[cfg(test)]
mod tests {
    use schemas::TokenCounts;
    use schemas::catalogue::Model;

    use super::*;
    use crate::meter::Ending;

    fn catalogue() -> Catalogue {
        let model: Model = serde_json::from_value(serde_json::json!({
            "id": "m", "upstream": "u", "context_tokens": 10, "max_output_tokens": 5,
            "price": {"input": "1", "cached_input": "1", "output": "1"},
        }))
        .unwrap();
        Catalogue { models: [("m".to_owned(), model)].into(), ..Catalogue::default() }
    }

    #[test]
    fn the_order_of_the_series_is_that_of_the_counts() {
        let registry = Registry::new();
        let models = Models::new(&registry, &catalogue()).unwrap();
        let model = models.get("m").unwrap();
        let tokens = TokenCounts { prompt: 7, cached_prompt: 5, completion: 3, reasoning: 2 };
        for outcome in OUTCOMES {
            for accuracy in ACCURACIES {
                let ending = Ending { outcome, accuracy, tokens };
                let usd = |text: &str| text.parse().unwrap();
                let (list_usd, credit_usd) = (usd("0.0000004"), usd("0.000000200001"));
                model.ended(&Ended { model: "m", stream: false, ending, list_usd, credit_usd });
                let at = |o: Outcome, a: Accuracy| {
                    OUTCOMES.iter().position(|x| *x == o).zip(ACCURACIES.iter().position(|x| *x == a))
                };
                let (row, column) = at(outcome, accuracy).unwrap();
                assert_eq!(model.ended[row][column].get(), 1, "{outcome:?} {accuracy:?}");
            }
        }
        assert_eq!(model.tokens.each_ref().map(IntCounter::get), [56, 40, 24, 16]);
        model.refresh();
        model.refresh();
        // Eight times 0.4 and 0.200001 millionths: what is below a whole one waits for the next.
        assert_eq!((model.list.shown.get(), model.credit.shown.get()), (3, 1));
        assert!(models.get("other").is_none());
    }
}
