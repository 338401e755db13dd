//! Tokens, counted on this machine: where an upstream does not say how many there were, or can't be believed.
//!
//! Models have tokenizers of their own. This counts by one of them (`OpenAI`'s `o200k_base`, with its vocabulary in the
//! executable), so a count is near the model's, not equal to it. [`with_tolerance`] says how far apart they may be.

use bpe_openai::{Tokenizer, o200k_base};

/// Loaded on first use.
fn tokenizer() -> &'static Tokenizer {
    o200k_base()
}

/// The tokens of a text.
pub(crate) fn count(text: &str) -> u64 {
    tokenizer().count(text) as u64
}

/// The tokens of a text where there are at most `limit`. Takes no longer than counting to that.
pub(crate) fn count_up_to(text: &str, limit: u64) -> Option<u64> {
    // A token is a byte at least.
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(text.len());
    let tokenizer = tokenizer();
    tokenizer.count_till_limit(&tokenizer.normalize(text), limit).map(|count| count as u64)
}

/// The longest beginning of a text that has at most so many tokens.
pub(crate) fn prefix(text: &str, tokens: u64) -> &str {
    let tokenizer = tokenizer();
    let (mut left, mut end) = (tokens, 0);
    for piece in tokenizer.split(text) {
        for token in tokenizer.bpe.encode_via_backtracking(piece.as_bytes()) {
            if left == 0 {
                // A token may end within a character.
                return &text[..text.floor_char_boundary(end)];
            }
            left -= 1;
            end += tokenizer.bpe.token_len(token);
        }
    }
    text
}

/// What a local count may come to where a model counts `tokens` by its own tokenizer. The local one needs up to a third
/// more for Chinese than models that were made for it, and some more for the pieces of short answers.
pub(crate) fn with_tolerance(tokens: u64) -> u64 {
    tokens.saturating_add(tokens / 3).saturating_add(8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_are_those_of_o200k() {
        let check = |text: &str, expected: u64| {
            assert_eq!(count(text), expected, "{text:?}");
            assert_eq!(count_up_to(text, expected), Some(expected), "{text:?}");
            assert_eq!(expected.checked_sub(1).and_then(|less| count_up_to(text, less)), None, "{text:?}");
        };
        check("", 0);
        check("hello wo", 2);
        check("Hello from ModelHub! How can I help you?", 11);
        check("{\"location\":\"Paris\"}", 5);
        check(&"a".repeat(8_000), 1_000);
    }

    #[test]
    fn a_prefix_ends_between_characters() {
        let check = |text: &str, tokens: u64, expected: &str| assert_eq!(prefix(text, tokens), expected, "{text:?}");
        check("Hello from ModelHub!", 0, "");
        check("Hello from ModelHub!", 2, "Hello from");
        check("Hello from ModelHub!", 5, "Hello from ModelHub!");
        check("Hello from ModelHub!", 99, "Hello from ModelHub!");
        // Four bytes in more than one token.
        check("🜚", 1, "");
    }

    proptest! {
        #[test]
        fn a_prefix_is_the_text_or_uses_up_its_tokens(text in "[a-z ü\n今天🜚]{0,60}", tokens in 0..20_u64) {
            let kept = prefix(&text, tokens);
            prop_assert!(text.starts_with(kept));
            prop_assert_eq!(kept == text, count(&text) <= tokens);
            prop_assert!(count_up_to(&text, tokens).is_none() == (count(&text) > tokens));
        }
    }
}
