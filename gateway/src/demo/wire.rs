//! The demo model's answers as JSON, with the fields in the order of the documentation.

use serde::Serialize;

use super::text::Completion;

/// A completion, or a chunk of one.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice>,
    /// Absent where the client did not ask; `null` on all chunks but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
pub(super) struct Choice {
    pub(super) index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Delta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<Delta>,
    pub(super) finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Usage {
    /// `null`
    NotYet,
    Counted {
        prompt_tokens: usize,
        completion_tokens: usize,
        total_tokens: usize,
    },
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        object: &'static str,
        model: &'a str,
        completion: &'a Completion,
        choices: Vec<Choice>,
        usage: Option<Usage>,
    ) -> Self {
        Self { id: &completion.id, object, created: completion.created, model, choices, usage }
    }
}

impl Usage {
    pub(super) fn of(completion: &Completion) -> Self {
        let (prompt_tokens, completion_tokens) = (completion.prompt_tokens, completion.tokens.len());
        Self::Counted { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}
