//! The demo model: how it counts and what it says.
//!
//! A token is a word with the space before it, or a single other character; a message costs one token more for its role.
//! So the documentation's example (a system message of 6 tokens and `Hello!`, 2) has exactly 10 prompt tokens, and its
//! answer has exactly 10.

use serde_json::Value;

const GREETING: &str = "Hello from ModelHub! How can I help you?";
const OTHERWISE: &str = "This is the built-in demo model of ModelHub, and every request to it is metered like any other. \
                         Point a model at a real upstream in modelhub.toml to get real answers. You said: ";
/// What is repeated of a message, in tokens.
const ECHO_TOKENS: usize = 50;

/// An answer of the demo model.
pub(super) struct Completion {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) prompt_tokens: usize,
    pub(super) tokens: Vec<String>,
    pub(super) finish_reason: &'static str,
}

impl Completion {
    /// Answers a request; the same request always gets the same answer.
    pub(super) fn answer(request: &Value) -> Self {
        let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let texts: Vec<String> = messages.iter().map(|message| content(&message["content"])).collect();
        let prompt_tokens = texts.iter().map(|text| tokenize(text).len() + 1).sum();
        let last = texts.last().map_or("", String::as_str);
        let mut tokens = tokenize(if greets(last) { GREETING } else { OTHERWISE });
        if !greets(last) {
            tokens.extend(tokenize(last).into_iter().take(ECHO_TOKENS));
        }
        let limit = request["max_completion_tokens"].as_u64().or(request["max_tokens"].as_u64()).unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let finish_reason = if tokens.len() > limit { "length" } else { "stop" };
        tokens.truncate(limit);
        let digest = texts
            .concat()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self {
            id: format!("chatcmpl-demo-{digest:016x}"),
            created: 1_234_567_890,
            prompt_tokens,
            tokens,
            finish_reason,
        }
    }
}

fn greets(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| ["hello", "hi"].contains(&word.to_lowercase().as_str()))
}

/// The text of a message's content: a string, or the text parts of an array.
fn content(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

fn tokenize(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for character in text.chars() {
        match tokens.last_mut() {
            Some(token)
                if character.is_alphanumeric() && token.ends_with(|c: char| c.is_alphanumeric() || c == ' ') =>
            {
                token.push(character);
            }
            _ => tokens.push(character.to_string()),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_and_answers() {
        let check = |request: Value, prompt: usize, completion: usize, finish: &str, starts: &str| {
            let answer = Completion::answer(&request);
            let text = answer.tokens.concat();
            assert_eq!(
                (answer.prompt_tokens, answer.tokens.len(), answer.finish_reason),
                (prompt, completion, finish),
                "{text}"
            );
            assert!(text.starts_with(starts), "{text}");
        };
        let documented = json!([
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hello!"},
        ]);
        check(json!({"messages": documented}), 10, 10, "stop", GREETING);
        check(json!({"messages": documented, "max_tokens": 3}), 10, 3, "length", "Hello from ModelHub");
        check(json!({"messages": [{"role": "user", "content": "Say hello"}]}), 3, 10, "stop", GREETING);
        check(
            json!({"messages": [{"content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]}]}),
            2,
            10,
            "stop",
            GREETING,
        );
        check(json!({"messages": [{"content": "What is ü?"}]}), 5, 46, "stop", "This is the built-in demo model");
        check(json!({}), 0, 42, "stop", "This is");
    }
}
