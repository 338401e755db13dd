//! A streamed answer, event by event: what passes through, what is held back, what is counted. No I/O here.

use bytes::Bytes;
use schemas::event::{Accuracy, Outcome};
use schemas::{TokenCounts, Usd};
use serde_json::value::RawValue;

use super::answer::Answer;
use super::usage::estimate_tokens;
use crate::json_edit::Edits;
use crate::meter::Ending;
use crate::sse::SseEvent;

/// What to do after an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send these bytes.
    Send(Bytes),
    /// Send nothing.
    Nothing,
    /// The upstream says that it is done.
    Done,
    /// The upstream says that it failed, or talks nonsense.
    Failed(String),
}

/// The state of one streamed answer.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The model as the client knows it, and as the upstream does.
    model: String,
    upstream_model: String,
    include_usage: bool,
    /// What an estimate would count, and its ceiling.
    prompt_estimate: u64,
    max_output: u64,
    measured: Option<TokenCounts>,
    output_bytes: u64,
    finished: bool,
    /// The upstream's usage chunk, or any other that can lend its identity to one.
    last: Option<Bytes>,
}

impl Relay {
    pub(crate) fn new(
        model: String,
        upstream_model: String,
        include_usage: bool,
        prompt_estimate: u64,
        max_output: u64,
    ) -> Self {
        Self {
            model,
            upstream_model,
            include_usage,
            prompt_estimate,
            max_output,
            measured: None,
            output_bytes: 0,
            finished: false,
            last: None,
        }
    }

    /// Takes one event of the upstream.
    pub(crate) fn event(&mut self, event: SseEvent) -> Step {
        let Some(data) = event.data else {
            // A comment keeps the connection alive. Anything else without data is nothing to a client, and what an
            // upstream sends that does not stream must not pass unmetered.
            return if event.is_comment() { Step::Send(event.raw) } else { Step::Nothing };
        };
        let trimmed = data.trim_ascii();
        if trimmed.is_empty() {
            return Step::Nothing;
        }
        if trimmed == b"[DONE]" {
            return Step::Done;
        }
        let Some(chunk) = Answer::parse(&data) else {
            return Step::Failed("sent a chunk that is not a JSON object".to_owned());
        };
        if chunk.is_error() {
            return Step::Failed("sent an error instead of an answer".to_owned());
        }
        if let Some(tokens) = chunk.tokens() {
            self.measured = Some(tokens);
            self.last = Some(data.clone());
            if chunk.has_no_choices() {
                return Step::Nothing;
            }
        } else if chunk.is_unreadable_usage() {
            return Step::Nothing;
        } else if self.last.is_none() {
            self.last = Some(data.clone());
        }
        let delivered = chunk.delivered();
        self.output_bytes += delivered.output_bytes;
        self.finished |= delivered.finished;
        let mut edits = Edits::default();
        chunk.rename_model(&data, &mut edits, &self.upstream_model, &self.model);
        if let Some(usage) = chunk.usage.filter(|_| self.measured.is_some() && chunk.tokens().is_some()) {
            edits.replace(&data, usage, "null");
        }
        if edits.is_empty() {
            return Step::Send(event.raw);
        }
        Step::Send(frame(&edits.apply(&data)))
    }

    /// Whether the answer is whole, though the upstream ended it without `[DONE]`.
    pub(crate) fn is_whole(&self) -> bool {
        self.finished
    }

    /// Whether any output was delivered.
    fn has_output(&self) -> bool {
        self.output_bytes > 0
    }

    fn estimated_output(&self) -> u64 {
        estimate_tokens(self.output_bytes).min(self.max_output)
    }

    /// The charge of an answer that ended by itself.
    pub(crate) fn completed(&self) -> Ending {
        let (accuracy, tokens) = match self.measured {
            Some(tokens) => (Accuracy::Measured, tokens),
            None => (Accuracy::Estimated, self.estimate(self.prompt_estimate)),
        };
        Ending { outcome: Outcome::Completed, accuracy, tokens }
    }

    /// The charge of an answer whose client went away: prompt and delivered output.
    pub(crate) fn client_gone(&self) -> Ending {
        let tokens = match self.measured {
            Some(tokens) => {
                TokenCounts { completion: tokens.completion.min(self.estimated_output()), reasoning: 0, ..tokens }
            }
            None => self.estimate(self.prompt_estimate),
        };
        Ending { outcome: Outcome::ClientGone, accuracy: Accuracy::Estimated, tokens }
    }

    /// The charge of an answer that broke off: delivered output, and nothing before the first token.
    pub(crate) fn upstream_failed(&self) -> Ending {
        if self.has_output() {
            let tokens = self.estimate(0);
            return Ending { outcome: Outcome::UpstreamFailed, accuracy: Accuracy::Estimated, tokens };
        }
        Ending::free(Outcome::UpstreamFailed)
    }

    fn estimate(&self, prompt: u64) -> TokenCounts {
        TokenCounts { prompt, completion: self.estimated_output(), ..TokenCounts::default() }
    }

    /// The last bytes of the answer: the usage chunk with its cost where the client asked for it, and `[DONE]`.
    pub(crate) fn ending_bytes(&self, ending: &Ending, cost: Usd) -> Bytes {
        let mut bytes = Vec::new();
        if self.include_usage {
            bytes.extend_from_slice(&frame(&self.usage_chunk(ending, cost)));
        }
        bytes.extend_from_slice(b"data: [DONE]\n\n");
        bytes.into()
    }

    /// Always one chunk without choices. The upstream's own where it sent one of that shape, with the cost added.
    fn usage_chunk(&self, ending: &Ending, cost: Usd) -> Bytes {
        let last = self.last.clone().unwrap_or_else(|| Bytes::from_static(b"{}"));
        let parsed = Answer::parse(&last).zip(serde_json::from_slice::<&RawValue>(&last).ok());
        let Some((chunk, whole)) = parsed else { return Bytes::new() };
        if !chunk.has_no_choices() || chunk.tokens().is_none() || chunk.choices.is_none() {
            return chunk.usage_chunk(&self.model, &ending.tokens, cost);
        }
        let mut edits = Edits::default();
        chunk.rename_model(&last, &mut edits, &self.upstream_model, &self.model);
        chunk.add_cost(&last, whole, &mut edits, &ending.tokens, cost);
        edits.apply(&last)
    }
}

/// One event with this data. Upstream data of several lines stays on several lines.
fn frame(data: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(data.len() + 8);
    for line in data.split(|byte| *byte == b'\n') {
        bytes.extend_from_slice(b"data: ");
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
    bytes.push(b'\n');
    bytes.into()
}

#[cfg(test)]
mod tests;
