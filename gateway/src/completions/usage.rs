//! The `usage` object of an upstream, normalised once: cached and reasoning tokens are subsets, never extra.

use schemas::TokenCounts;
use serde::Deserialize;
use serde_json::value::RawValue;

/// `OpenAI`'s names, and the two under which others report cache hits.
#[derive(Deserialize)]
struct RawUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
    /// `DeepSeek`'s name for cached prompt tokens.
    #[serde(default)]
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CompletionDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

/// The counts of a `usage` value; `None` where it does not hold plausible ones, as if none had come.
pub(crate) fn normalise(usage: &RawValue) -> Option<TokenCounts> {
    let raw: RawUsage = serde_json::from_str(usage.get()).ok()?;
    let (prompt, completion) = (raw.prompt_tokens?, raw.completion_tokens?);
    let cached = raw.prompt_tokens_details.and_then(|details| details.cached_tokens).or(raw.prompt_cache_hit_tokens);
    let reasoning = raw.completion_tokens_details.and_then(|details| details.reasoning_tokens);
    let counts = TokenCounts {
        prompt,
        cached_prompt: cached.unwrap_or(0).min(prompt),
        completion,
        reasoning: reasoning.unwrap_or(0).min(completion),
    };
    counts.is_consistent().then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_never_exceed_the_whole() {
        let check = |json: &str, expected: Option<(u64, u64, u64, u64)>| {
            let raw = RawValue::from_string(json.to_owned()).unwrap();
            let got = normalise(&raw).map(|c| (c.prompt, c.cached_prompt, c.completion, c.reasoning));
            assert_eq!(got, expected, "{json}");
        };
        check(r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}"#, Some((10, 0, 5, 0)));
        check(
            r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":3}}"#,
            Some((10, 4, 5, 3)),
        );
        check(r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":8}"#, Some((10, 8, 5, 0)));
        check(
            r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":99},"completion_tokens_details":{"reasoning_tokens":99}}"#,
            Some((10, 10, 5, 5)),
        );
        check(r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":null}"#, Some((10, 0, 5, 0)));
        check(r#"{"prompt_tokens":-1,"completion_tokens":5}"#, None);
        check(r#"{"prompt_tokens":1.5,"completion_tokens":5}"#, None);
        check(r#"{"prompt_tokens":10}"#, None);
        check(r#"{"prompt_tokens":99999999999,"completion_tokens":5}"#, None);
        check("null", None);
        check("[]", None);
    }
}
