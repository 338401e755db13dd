//! A streamed answer, event by event: what passes through, what is held back, what is counted. No I/O here.

use std::collections::BTreeMap;

use bytes::Bytes;
use schemas::event::Outcome;
use schemas::{TokenCounts, Usd};

use super::allowance::Allowance;
use super::answer::Answer;
use super::charge;
use crate::json_edit::Edits;
use crate::meter::Ending;
use crate::sse::SseEvent;
use crate::tokens::with_tolerance;

/// What to do after an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send these bytes.
    Send(Bytes),
    /// Send these bytes, which say nothing.
    Comment(Bytes),
    /// Send nothing.
    Nothing,
    /// The upstream says that it is done.
    Done,
    /// Send these bytes and call the upstream off: it goes on beyond what was held.
    Cut(Bytes),
    /// The upstream says that it failed, or talks nonsense.
    Failed(String),
}

/// What a stream is to be.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The model as the client knows it.
    pub(crate) model: String,
    /// Whether the client asked for the usage chunk.
    pub(crate) include_usage: bool,
    /// Choices asked for.
    pub(crate) choices: u64,
    /// The most that may be charged.
    pub(crate) held: TokenCounts,
}

/// The state of one streamed answer.
#[derive(Debug)]
pub(crate) struct Relay {
    terms: Terms,
    /// The model as the upstream knows it.
    upstream_model: String,
    allowance: Allowance,
    measured: Option<TokenCounts>,
    /// Each choice that began, and whether it said why it ended.
    finished: BTreeMap<u64, bool>,
    /// The upstream's usage chunk, or any other that can lend its identity to one.
    last: Option<Bytes>,
}

impl Relay {
    pub(crate) fn new(terms: Terms, upstream_model: String) -> Self {
        let allowance = Allowance::new(with_tolerance(terms.held.completion));
        Self { terms, upstream_model, allowance, measured: None, finished: BTreeMap::new(), last: None }
    }

    /// Takes one event of the upstream.
    pub(crate) fn event(&mut self, event: SseEvent) -> Step {
        let Some(data) = event.data else {
            // A comment keeps the connection alive. Anything else without data is nothing to a client, and what an
            // upstream sends that does not stream must not pass unmetered.
            return if event.is_comment() { Step::Comment(event.raw) } else { Step::Nothing };
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
        let mut edits = Edits::default();
        let taken = self.take(&chunk, &data, &mut edits);
        chunk.rename_model(&data, &mut edits, &self.upstream_model, &self.terms.model);
        if let Some(usage) = chunk.usage.filter(|_| self.measured.is_some() && chunk.tokens().is_some()) {
            edits.replace(&data, usage, "null");
        }
        let bytes = if edits.is_empty() { event.raw } else { frame(&edits.apply(&data)) };
        match taken {
            Taken::Whole if self.is_beyond_the_hold() && !self.is_whole() => {
                Step::Cut([bytes, self.length_chunks(&chunk)].concat().into())
            }
            Taken::Whole => Step::Send(bytes),
            Taken::Part => Step::Cut([bytes, self.length_chunks(&chunk)].concat().into()),
            Taken::Nothing => Step::Cut(self.length_chunks(&chunk)),
        }
    }

    /// Counts a chunk's texts, and cuts those that are beyond what is allowed.
    fn take(&mut self, chunk: &Answer<'_>, data: &Bytes, edits: &mut Edits) -> Taken {
        let (mut kept, mut cut) = (false, false);
        for choice in chunk.choices() {
            let mut is_cut = false;
            for text in &choice.texts {
                let fits = self.allowance.take(text.place, &text.text);
                kept |= fits > 0;
                if fits < text.text.len() {
                    is_cut = true;
                    edits.replace(data, text.raw, text.cut_to(fits));
                }
            }
            if is_cut {
                // Why it ended is said in a chunk of its own, after this one.
                for value in [choice.logprobs, choice.finish_reason].into_iter().flatten() {
                    edits.replace(data, value, "null");
                }
            }
            cut |= is_cut;
            *self.finished.entry(choice.index).or_default() |= choice.is_finished() && !is_cut;
        }
        match (cut, kept) {
            (false, _) => Taken::Whole,
            (true, true) => Taken::Part,
            (true, false) => Taken::Nothing,
        }
    }

    /// The end of every choice that has none yet, as an upstream would have sent it that keeps to `max_tokens`.
    fn length_chunks(&self, like: &Answer<'_>) -> Bytes {
        let asked = (0..self.terms.choices).filter(|index| !self.finished.contains_key(index));
        let begun = self.finished.iter().filter(|(_, finished)| !**finished).map(|(index, _)| *index);
        let mut open: Vec<u64> = asked.chain(begun).collect();
        open.sort_unstable();
        let chunks = open.into_iter().map(|index| frame(&self.length_chunk(like, index)));
        chunks.collect::<Vec<_>>().concat().into()
    }

    fn length_chunk(&self, like: &Answer<'_>, index: u64) -> Bytes {
        let choices = format!(r#"[{{"index":{index},"delta":{{}},"finish_reason":"length"}}]"#);
        like.chunk(&self.terms.model, &choices, self.terms.include_usage.then_some("null"))
    }

    fn is_beyond_the_hold(&self) -> bool {
        self.measured.is_some_and(|tokens| tokens.completion > self.terms.held.completion)
    }

    /// Whether the answer is whole, though the upstream ended it without `[DONE]`.
    pub(crate) fn is_whole(&self) -> bool {
        !self.finished.is_empty() && self.finished.values().all(|finished| *finished)
    }

    /// Whether the upstream has said what it counted: then no local count of the prompt is asked for.
    pub(crate) fn is_measured(&self) -> bool {
        self.measured.is_some()
    }

    /// Whether its first token is here, or its end.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_output() || self.finished.values().any(|finished| *finished) || self.measured.is_some()
    }

    /// What it has said so far, as numbers that grow: bytes of output, choices that ended, and whether it was measured. A
    /// chunk without output says nothing, and only keeps the connection alive.
    pub(crate) fn content(&self) -> (u64, usize, bool) {
        let finished = self.finished.values().filter(|finished| **finished).count();
        (self.allowance.bytes(), finished, self.measured.is_some())
    }

    /// Whether any output was delivered.
    fn has_output(&self) -> bool {
        !self.allowance.is_untouched()
    }

    /// The charge of an answer that ended by itself; `prompt` is its prompt by local count.
    pub(crate) fn completed(&self, prompt: u64) -> Ending {
        match self.measured {
            Some(tokens) => charge::measured(tokens, self.terms.held),
            None => self.estimated(Outcome::Completed, prompt),
        }
    }

    /// The charge of an answer that was cut.
    pub(crate) fn cut(&self, prompt: u64) -> Ending {
        match self.measured {
            Some(tokens) => Ending { outcome: Outcome::Cut, ..charge::measured(tokens, self.terms.held) },
            None => self.estimated(Outcome::Cut, prompt),
        }
    }

    /// The charge of an answer whose client went away: prompt and delivered output.
    pub(crate) fn client_gone(&self, prompt: u64) -> Ending {
        match self.measured {
            Some(tokens) => {
                let delivered = self.allowance.tokens().min(tokens.completion);
                let mut ending = charge::estimated(Outcome::ClientGone, tokens.prompt, delivered, self.terms.held);
                ending.tokens.cached_prompt = tokens.cached_prompt.min(ending.tokens.prompt);
                ending
            }
            None => self.estimated(Outcome::ClientGone, prompt),
        }
    }

    /// The charge of an answer that broke off: delivered output, and nothing before the first token.
    pub(crate) fn upstream_failed(&self) -> Ending {
        if self.has_output() {
            return self.estimated(Outcome::UpstreamFailed, 0);
        }
        Ending::free(Outcome::UpstreamFailed)
    }

    fn estimated(&self, outcome: Outcome, prompt: u64) -> Ending {
        charge::estimated(outcome, prompt, self.allowance.tokens(), self.terms.held)
    }

    /// The last bytes of the answer: the usage chunk with its cost where the client asked for it, and `[DONE]`.
    pub(crate) fn ending_bytes(&self, ending: &Ending, cost: Usd) -> Bytes {
        let mut bytes = Vec::new();
        if self.terms.include_usage {
            bytes.extend_from_slice(&frame(&self.usage_chunk(ending, cost)));
        }
        bytes.extend_from_slice(b"data: [DONE]\n\n");
        bytes.into()
    }

    /// Always one chunk without choices. The upstream's own where it sent one of that shape that says what is charged, with
    /// the cost added.
    fn usage_chunk(&self, ending: &Ending, cost: Usd) -> Bytes {
        let last = self.last.clone().unwrap_or_else(|| Bytes::from_static(b"{}"));
        let Some(chunk) = Answer::parse(&last) else { return Bytes::new() };
        if !chunk.has_no_choices() || chunk.tokens() != Some(ending.tokens) || chunk.choices.is_none() {
            return chunk.usage_chunk(&self.terms.model, &ending.tokens, cost);
        }
        let mut edits = Edits::default();
        chunk.rename_model(&last, &mut edits, &self.upstream_model, &self.terms.model);
        chunk.add_cost(&last, &mut edits, &ending.tokens, cost);
        edits.apply(&last)
    }
}

/// What of a chunk's output is allowed.
enum Taken {
    Whole,
    Part,
    Nothing,
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
