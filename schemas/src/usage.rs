//! Token counts, normalised once at the edge so that nothing is charged twice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::UnitPrice;

/// The most tokens one request may count in any position. Beyond it a count is a fault, not usage.
pub const MAX_TOKENS: u64 = 1_000_000_000;

/// Tokens of one request. Cached and reasoning tokens are *subsets*: of the prompt and of the completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCounts {
    /// All prompt tokens.
    pub prompt: u64,
    /// Those of `prompt` that the upstream read from its cache.
    pub cached_prompt: u64,
    /// All completion tokens.
    pub completion: u64,
    /// Those of `completion` that were reasoning.
    pub reasoning: u64,
}

impl TokenCounts {
    /// Whether the subsets fit into their wholes and every count is plausible.
    pub fn is_consistent(&self) -> bool {
        self.cached_prompt <= self.prompt
            && self.reasoning <= self.completion
            && self.prompt <= MAX_TOKENS
            && self.completion <= MAX_TOKENS
    }

    /// These counts, none above what `most` has of prompt and completion.
    #[must_use]
    pub fn within(&self, most: &Self) -> Self {
        let (prompt, completion) = (self.prompt.min(most.prompt), self.completion.min(most.completion));
        let (cached_prompt, reasoning) = (self.cached_prompt.min(prompt), self.reasoning.min(completion));
        Self { prompt, cached_prompt, completion, reasoning }
    }

    /// Prompt and completion together.
    pub fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// A model's list price, in USD per 1,000,000 tokens. Events carry the price they were rated at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens that were not cached.
    pub input: UnitPrice,
    /// Prompt tokens read from the upstream's cache.
    pub cached_input: UnitPrice,
    /// Completion tokens, reasoning included.
    pub output: UnitPrice,
}
