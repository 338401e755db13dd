//! What the gateway reads of a completion request, and the few values it changes before it sends it on.

use std::ops::Range;

use accounting::rating;
use bytes::Bytes;
use schemas::TokenCounts;
use schemas::api::Funds;
use schemas::catalogue::Model;
use schemas::usage::Price;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::prompt;
use crate::error::ApiError;
use crate::json_edit::{self, Edits};
use crate::tokens::with_tolerance;

/// The fields that matter here. Everything else passes through untouched; a field that stands twice is refused, because
/// two readers could disagree on which one counts.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    model: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    n: Option<&'a RawValue>,
}

/// A completion request, read.
#[derive(Clone, Debug)]
pub(crate) struct CompletionRequest {
    body: Bytes,
    /// The model asked for.
    pub(crate) model: String,
    /// Where the body names it.
    model_at: Range<usize>,
    /// Whether the answer is to be streamed.
    pub(crate) stream: bool,
    /// Whether the client asked for the usage chunk of a stream.
    pub(crate) include_usage: bool,
    /// The answer's length asked for, in tokens.
    max_output_tokens: Option<u64>,
    /// Answers asked for.
    pub(crate) choices: u64,
    /// Whether the messages hold nothing but text.
    text_only: bool,
    /// The most output tokens that the key's limits allow, of all choices.
    allowed: Option<u64>,
}

/// What a request may take at most, and the output that pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorstCase {
    /// Output tokens of each choice.
    pub(crate) output_tokens: u64,
    /// Whether that is less than the client, or the model, would take.
    pub(crate) clamped: bool,
    /// Whether it is all that the request asks for.
    pub(crate) full: bool,
    /// Plan tokens, and the list price of what they do not cover, of the prompt and all choices.
    pub(crate) hold: Funds,
    /// The tokens that this is for: the most that may be charged.
    pub(crate) tokens: TokenCounts,
}

/// The largest `n` a request may ask for, as at `OpenAI`.
const MAX_CHOICES: u64 = 128;

impl CompletionRequest {
    /// Reads a request's body.
    pub(crate) fn parse(body: Bytes) -> Result<Self, ApiError> {
        let not_json =
            |error: String| ApiError::invalid_request(None, format!("The body is not a JSON object: {error}."));
        let fields: Fields<'_> = json_edit::object(&body).map_err(not_json)?;
        let required = |name: &'static str| {
            ApiError::invalid_request(
                Some(name),
                format!("`{name}` is missing. A completion needs model and messages."),
            )
        };
        let model = value::<String>(fields.model, "model", "a string")?.ok_or_else(|| required("model"))?;
        let messages =
            value::<Vec<&RawValue>>(fields.messages, "messages", "an array")?.ok_or_else(|| required("messages"))?;
        if messages.is_empty() {
            return Err(ApiError::invalid_request(Some("messages"), "`messages` is empty. Send at least one message."));
        }
        let stream = value::<bool>(fields.stream, "stream", "true or false")?.unwrap_or(false);
        let options =
            fields.stream_options.filter(|value| value.get() != "null").map(StreamOptions::read).transpose()?;
        let include_usage = match options {
            Some(options) => {
                value::<bool>(options.include_usage, "stream_options", "an object with include_usage true or false")?
            }
            None => None,
        };
        let tokens = |field, name: &'static str| -> Result<Option<u64>, ApiError> {
            let tokens = value::<u64>(field, name, "a whole number above zero")?;
            if tokens == Some(0) {
                return Err(ApiError::invalid_request(Some(name), format!("`{name}` is 0; it must be at least 1.")));
            }
            Ok(tokens)
        };
        let max_tokens = tokens(fields.max_tokens, "max_tokens")?;
        let max_completion_tokens = tokens(fields.max_completion_tokens, "max_completion_tokens")?;
        let max_output_tokens = match (max_tokens, max_completion_tokens) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        let choices = tokens(fields.n, "n")?.unwrap_or(1);
        if choices > MAX_CHOICES {
            return Err(ApiError::invalid_request(
                Some("n"),
                format!("`n` is {choices}; it can be {MAX_CHOICES} at most."),
            ));
        }
        let model_at = fields.model.map(|model| json_edit::range_of(&body, model)).unwrap_or_default();
        let text_only = messages.iter().all(|message| is_text(message));
        let include_usage = include_usage.unwrap_or(false);
        Ok(Self { body, model, model_at, stream, include_usage, max_output_tokens, choices, text_only, allowed: None })
    }

    /// An upper bound of the prompt's tokens: a byte-level token of text is at least one byte, and a prompt can't be
    /// larger than the model's context. An image, a file or a sound has no bound by its bytes, which may be an address.
    pub(crate) fn prompt_tokens_bound(&self, model: &Model) -> u64 {
        let bytes = if self.text_only { self.body.len() as u64 } else { u64::MAX };
        bytes.min(model.context_tokens)
    }

    /// Tokens of the prompt by local count, for charges marked `estimated`; `most` where there are more. Takes a while for
    /// long ones.
    pub(crate) fn prompt_tokens_counted(&self, most: u64) -> u64 {
        prompt::count_up_to(&self.body, most).unwrap_or(most)
    }

    /// A closer bound of the prompt's tokens than its bytes, with room for what the model's own tokenizer may count more;
    /// `None` where it is none, or more than `available` pays for. Takes a while for long prompts.
    pub(crate) fn prompt_tokens_counted_bound(&self, model: &Model, available: Funds) -> Option<u64> {
        let bytes = self.prompt_tokens_bound(model);
        let as_output = Price { output: model.price.input, ..model.price };
        let paid = rating::affordable_output(available.usd, 0, bytes, &as_output).unwrap_or(0);
        let affordable = available.plan_tokens.saturating_add(paid).min(bytes);
        if affordable == 0 {
            return None;
        }
        let bound = with_tolerance(prompt::count_up_to(&self.body, affordable)?);
        (self.text_only && bound < bytes).then_some(bound)
    }

    /// What the request may take at most where its prompt has up to `prompt` tokens and `available` is all there is; `None`
    /// where that does not even pay for the prompt and one output token. Plan tokens go first, to the prompt and then to the output, one for one.
    pub(crate) fn worst_case(&self, model: &Model, prompt: u64, available: Funds) -> Option<WorstCase> {
        let price = &model.price;
        let all = self.most_output(model)?;
        let covered = available.plan_tokens.min(prompt);
        let covered_output = (available.plan_tokens - covered).min(all);
        let uncovered = all - covered_output;
        let paid_output = match rating::affordable_output(available.usd, prompt - covered, uncovered, price) {
            Some(output) => output,
            None if covered == prompt => 0,
            None => return None,
        };
        let output_tokens = (covered_output + paid_output) / self.choices;
        if output_tokens == 0 {
            return None;
        }
        let completion = output_tokens.checked_mul(self.choices)?;
        let plan_tokens = available.plan_tokens.min(prompt.checked_add(completion)?);
        let tokens = worst(prompt, completion);
        let usd = rating::overage(&tokens, price, plan_tokens)?;
        Some(WorstCase {
            output_tokens,
            clamped: output_tokens < self.max_output_tokens.unwrap_or(model.max_output_tokens),
            full: completion == all,
            hold: Funds { usd, plan_tokens },
            tokens,
        })
    }

    /// All that the request asks for with a prompt of up to `prompt` tokens, of an account that has `plan_tokens`, or where those can't be had, at list price.
    pub(crate) fn wanted(&self, model: &Model, prompt: u64, plan_tokens: u64) -> Funds {
        let all = self.most_output(model).unwrap_or(0);
        let plan_tokens = plan_tokens.min(prompt.saturating_add(all));
        let usd = rating::overage(&worst(prompt, all), &model.price, plan_tokens).unwrap_or_default();
        Funds { usd, plan_tokens }
    }

    /// All the tokens that the request asks for with a prompt of up to `prompt` tokens, whatever its account has.
    pub(crate) fn asked(&self, model: &Model, prompt: u64) -> Option<TokenCounts> {
        Some(worst(prompt, self.most_output(model)?))
    }

    /// The most output tokens of all choices that the request can have.
    fn most_output(&self, model: &Model) -> Option<u64> {
        let wanted = self.max_output_tokens.unwrap_or(u64::MAX).min(model.max_output_tokens);
        Some(wanted.checked_mul(self.choices)?.min(self.allowed.unwrap_or(u64::MAX)))
    }

    /// What the request may cost at list price where `left` is all that its key may use, and the output tokens of all choices
    /// that pays for; `None` where that does not even pay for the prompt and one output token.
    pub(crate) fn within(&self, model: &Model, left: schemas::Usd) -> Option<(schemas::Usd, u64)> {
        let prompt = self.prompt_tokens_bound(model);
        let output = rating::affordable_output(left, prompt, self.most_output(model)?, &model.price)?;
        let output = output / self.choices * self.choices;
        let cost = rating::cost(&worst(prompt, output), &model.price)?;
        (output > 0).then_some((cost, output))
    }

    /// Allows at most so many output tokens, of all choices.
    pub(crate) fn allow(&mut self, most: Option<u64>) {
        self.allowed = most;
    }

    /// The body for the upstream: its own name of the model, usage always requested, and the output clamped where the
    /// worst case says so. Every other byte is the client's.
    pub(crate) fn upstream_body(&self, upstream_model: &str, worst: &WorstCase) -> Result<Bytes, ApiError> {
        let text = &self.body;
        let mut edits = Edits::default();
        if upstream_model != self.model {
            edits.replace_at(self.model_at.clone(), json_string(upstream_model)?);
        }
        if !worst.clamped && (!self.stream || self.include_usage) {
            return Ok(edits.apply(text));
        }
        let fields: Fields<'_> = json_edit::object(text).map_err(|_| ApiError::internal())?;
        let mut added = Vec::new();
        if self.stream && !self.include_usage {
            match fields.stream_options.filter(|value| value.get() != "null") {
                Some(options) => match StreamOptions::read(options)?.include_usage {
                    Some(value) => edits.replace(text, value, "true"),
                    None => edits.add_last(text, options, "include_usage", "true"),
                },
                None => match fields.stream_options {
                    Some(null) => edits.replace(text, null, r#"{"include_usage":true}"#),
                    None => added.push(("stream_options", r#"{"include_usage":true}"#.to_owned())),
                },
            }
        }
        if worst.clamped {
            let clamp = worst.output_tokens.to_string();
            let present = [fields.max_tokens, fields.max_completion_tokens].into_iter().flatten();
            let mut replaced = false;
            for value in present {
                edits.replace(text, value, clamp.clone());
                replaced = true;
            }
            if !replaced {
                added.push(("max_tokens", clamp));
            }
        }
        for (name, value) in added {
            edits.add_first(text, name, &value);
        }
        Ok(edits.apply(text))
    }
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    include_usage: Option<&'a RawValue>,
}

impl<'a> StreamOptions<'a> {
    fn read(value: &'a RawValue) -> Result<Self, ApiError> {
        json_edit::object_in(value.get())
            .map_err(|_| ApiError::invalid_request(Some("stream_options"), "`stream_options` must be an object."))
    }
}

/// What a message is made of, as far as that says how many tokens it may have.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    /// An earlier answer's sound, by its id.
    #[serde(borrow, default)]
    audio: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
}

/// Whether a message holds nothing but text. What can't be read might be anything.
fn is_text(message: &RawValue) -> bool {
    let Ok(message) = json_edit::object_in::<Message<'_>>(message.get()) else { return false };
    let content = message.content.map_or("null", RawValue::get);
    let parts = match content.as_bytes() {
        [b'"', ..] | b"null" => Some(Vec::new()),
        _ => serde_json::from_str::<Vec<Part<'_>>>(content).ok(),
    };
    message.audio.is_none()
        && parts.is_some_and(|parts| parts.iter().all(|part| matches!(&*part.r#type, "text" | "refusal")))
}

fn worst(prompt: u64, completion: u64) -> TokenCounts {
    TokenCounts { prompt, completion, ..TokenCounts::default() }
}

/// A field's value; `None` where it is absent or `null`.
fn value<'a, T: Deserialize<'a>>(
    field: Option<&'a RawValue>,
    name: &'static str,
    expected: &str,
) -> Result<Option<T>, ApiError> {
    let Some(field) = field.filter(|value| value.get() != "null") else { return Ok(None) };
    serde_json::from_str(field.get()).map(Some).map_err(|_| {
        let shown: String = field.get().chars().take(60).collect();
        ApiError::invalid_request(Some(name), format!("`{name}` is {shown}; it must be {expected}."))
    })
}

fn json_string(text: &str) -> Result<String, ApiError> {
    serde_json::to_string(text).map_err(|_| ApiError::internal())
}

#[cfg(test)]
mod tests;
