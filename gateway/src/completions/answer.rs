//! What the gateway reads of an upstream's answer, and the few values it changes in it.

use bytes::Bytes;
use schemas::{TokenCounts, Usd};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::output::{self, Choice};
use super::usage;
use crate::json_edit::{self, Edits};

/// The fields of a completion, or of a chunk of one, that matter here.
#[derive(Deserialize)]
pub(crate) struct Answer<'a> {
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    pub(crate) usage: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    pub(crate) error: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    pub(crate) choices: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    pub(crate) created: Option<&'a RawValue>,
}

impl<'a> Answer<'a> {
    /// Reads an answer; `None` where it is no JSON object.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        json_edit::object(text).ok()
    }

    /// The upstream's own counts, where it sent plausible ones.
    pub(crate) fn tokens(&self) -> Option<TokenCounts> {
        usage::normalise(self.usage?)
    }

    /// Whether it says that something went wrong.
    pub(crate) fn is_error(&self) -> bool {
        self.error.is_some_and(|error| error.get() != "null")
    }

    /// Whether it is the answer to a request at all: some servers put their errors, in shapes of their own, under 200.
    pub(crate) fn is_completion(&self) -> bool {
        !self.is_error() && self.choices.is_some_and(|choices| choices.get().starts_with('['))
    }

    /// Whether it is a usage chunk whose counts make no sense.
    pub(crate) fn is_unreadable_usage(&self) -> bool {
        self.has_no_choices() && self.usage.is_some_and(|usage| usage.get() != "null") && self.tokens().is_none()
    }

    /// Whether it carries no choice: the shape of a usage chunk.
    pub(crate) fn has_no_choices(&self) -> bool {
        self.choices.is_none_or(|choices| {
            let inner = choices.get().trim_start_matches('[').trim_end_matches(']');
            inner.trim().is_empty() || choices.get() == "null"
        })
    }

    /// Its choices, with what they deliver.
    pub(crate) fn choices(&self) -> Vec<Choice<'a>> {
        self.choices.map(output::choices).unwrap_or_default()
    }

    /// Gives the model the name under which the client asked for it, where the upstream answered with its own.
    pub(crate) fn rename_model(&self, text: &[u8], edits: &mut Edits, from: &str, to: &str) {
        let Some(model) = self.model.filter(|_| from != to) else { return };
        let is_ours = serde_json::from_str::<std::borrow::Cow<'_, str>>(model.get()).is_ok_and(|name| name == from);
        if let Some(to) = serde_json::to_string(to).ok().filter(|_| is_ours) {
            edits.replace(text, model, to);
        }
    }

    /// Puts `cost_usd` into the usage object, or a usage object of its own where the upstream's does not say what is
    /// charged.
    pub(crate) fn add_cost(&self, text: &[u8], edits: &mut Edits, tokens: &TokenCounts, cost: Usd) {
        match self.usage.filter(|usage| usage.get().starts_with('{') && self.tokens() == Some(*tokens)) {
            // A name that stands twice would have each client choose its own price.
            Some(usage) => match json_edit::object_in::<Priced<'_>>(usage.get()) {
                Ok(Priced { cost_usd: Some(theirs) }) => edits.replace(text, theirs, cost.to_string()),
                _ => edits.add_last(text, usage, "cost_usd", &cost.to_string()),
            },
            None => match self.usage {
                Some(other) => edits.replace(text, other, usage_object(tokens, cost)),
                None => edits.add_last_of_all(text, "usage", &usage_object(tokens, cost)),
            },
        }
    }

    /// A usage chunk with this chunk's identity, for a client that asked for one where the upstream's shape was other.
    pub(crate) fn usage_chunk(&self, model: &str, tokens: &TokenCounts, cost: Usd) -> Bytes {
        self.chunk(model, "[]", Some(&usage_object(tokens, cost)))
    }

    /// A chunk with this one's identity, and with these `choices` and this `usage`.
    pub(crate) fn chunk(&self, model: &str, choices: &str, usage: Option<&str>) -> Bytes {
        let part = |value: Option<&RawValue>, default: &str| value.map_or(default.to_owned(), |v| v.get().to_owned());
        let (id, created) = (part(self.id, "\"chatcmpl\""), part(self.created, "0"));
        let model = serde_json::to_string(model).unwrap_or_default();
        let usage = usage.map(|usage| format!(r#","usage":{usage}"#)).unwrap_or_default();
        Bytes::from(format!(
            r#"{{"id":{id},"object":"chat.completion.chunk","created":{created},"model":{model},"choices":{choices}{usage}}}"#
        ))
    }
}

/// A usage object whose sender names a price.
#[derive(Deserialize)]
struct Priced<'a> {
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    cost_usd: Option<&'a RawValue>,
}

/// `usage` as this gateway writes it. The cost is a JSON number with the exact decimal's text, never a float.
fn usage_object(tokens: &TokenCounts, cost: Usd) -> String {
    format!(
        r#"{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"cost_usd":{cost}}}"#,
        tokens.prompt,
        tokens.completion,
        tokens.total(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_bytes_but_for_model_and_cost() {
        let check = |text: &'static str, expected: &str| {
            let bytes = Bytes::from_static(text.as_bytes());
            let answer = Answer::parse(&bytes).unwrap();
            let tokens = answer.tokens().unwrap_or(TokenCounts { prompt: 3, completion: 4, ..TokenCounts::default() });
            let mut edits = Edits::default();
            answer.rename_model(&bytes, &mut edits, "um", "m");
            answer.add_cost(&bytes, &mut edits, &tokens, "0.000005".parse().unwrap());
            assert_eq!(std::str::from_utf8(&edits.apply(&bytes)).unwrap(), expected);
        };
        check(
            r#"{ "model":"um", "x":1.0, "usage": {"prompt_tokens":10,"completion_tokens":10 } }"#,
            r#"{ "model":"m", "x":1.0, "usage": {"prompt_tokens":10,"completion_tokens":10 ,"cost_usd":0.000005} }"#,
        );
        // An upstream that names a price of its own: another ModelHub, say.
        check(
            r#"{"usage":{"cost_usd":0.1 ,"prompt_tokens":10,"completion_tokens":10}}"#,
            r#"{"usage":{"cost_usd":0.000005 ,"prompt_tokens":10,"completion_tokens":10}}"#,
        );
        check(
            r#"{"model":"um-0613","usage":null}"#,
            r#"{"model":"um-0613","usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"cost_usd":0.000005}}"#,
        );
        check(
            r#"{"model":null}"#,
            r#"{"model":null,"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"cost_usd":0.000005}}"#,
        );
    }

    #[test]
    fn chunks_are_told_apart() {
        let check = |text: &str, no_choices: bool, is_error: bool, choices: usize| {
            let answer = Answer::parse(text.as_bytes()).unwrap();
            let got = (answer.has_no_choices(), answer.is_error(), answer.choices().len());
            assert_eq!(got, (no_choices, is_error, choices), "{text}");
        };
        check(r#"{"choices":[],"usage":{}}"#, true, false, 0);
        check(r#"{"choices":[ ]}"#, true, false, 0);
        check(r#"{"choices":null}"#, true, false, 0);
        check(r#"{"choices":[{"delta":{"content":"h"}},{}]}"#, false, false, 2);
        check(r#"{"error":{"message":"x"}}"#, true, true, 0);
        check(r#"{"error":null,"choices":[{}]}"#, false, false, 1);
    }

    #[test]
    fn only_an_answer_with_choices_is_a_completion() {
        let check = |text: &str, expected: bool| {
            assert_eq!(Answer::parse(text.as_bytes()).unwrap().is_completion(), expected, "{text}");
        };
        check(r#"{"choices":[{"message":{"content":"a"}}]}"#, true);
        check(r#"{"choices":[]}"#, true);
        check(r#"{"error":null,"choices":[{}]}"#, true);
        check("{}", false);
        check(r#"{"detail":"Not found"}"#, false);
        check(r#"{"choices":null,"message":"overloaded"}"#, false);
        check(r#"{"error":{"message":"x"},"choices":[{}]}"#, false);
    }
}
