//! The tokens of a request's prompt by local count, where its bytes are no good bound: near the end of a balance, and for
//! charges marked `estimated`.

use serde_json::Value;

use crate::tokens;

/// What a model's template puts around a message: its role, and where it begins and ends.
const MESSAGE_TOKENS: u64 = 4;
/// About what an image of the usual size comes to: what else it is can't be told from here.
const PART_TOKENS: u64 = 1_000;
/// The fields beside the messages whose JSON models are shown.
const SHOWN: [&str; 3] = ["tools", "functions", "response_format"];

/// The tokens of the prompt of a request with this body where there are at most `limit`. Takes no longer than reading the
/// body and counting to that.
pub(crate) fn count_up_to(body: &[u8], limit: u64) -> Option<u64> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let mut left = Left(limit);
    for message in body["messages"].as_array().into_iter().flatten() {
        left.take(MESSAGE_TOKENS)?;
        left.message(message)?;
    }
    for name in SHOWN {
        if !body[name].is_null() {
            left.text(&body[name].to_string())?;
        }
    }
    Some(limit - left.0)
}

/// The tokens that may still come.
struct Left(u64);

impl Left {
    fn take(&mut self, tokens: u64) -> Option<()> {
        self.0 = self.0.checked_sub(tokens)?;
        Some(())
    }

    fn text(&mut self, text: &str) -> Option<()> {
        let tokens = tokens::count_up_to(text, self.0)?;
        self.take(tokens)
    }

    fn message(&mut self, message: &Value) -> Option<()> {
        for (name, value) in message.as_object().into_iter().flatten() {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                (_, Value::String(text)) => self.text(text)?,
                ("content", Value::Array(parts)) => {
                    for part in parts {
                        match part["text"].as_str() {
                            Some(text) => self.text(text)?,
                            None => self.take(PART_TOKENS)?,
                        }
                    }
                }
                (_, other) => self.text(&other.to_string())?,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_is_shown_is_counted() {
        let check = |body: &str, expected: u64| {
            assert_eq!(count_up_to(body.as_bytes(), 1_000_000), Some(expected), "{body}");
            assert_eq!(count_up_to(body.as_bytes(), expected), Some(expected), "{body}");
            assert_eq!(expected.checked_sub(1).and_then(|less| count_up_to(body.as_bytes(), less)), None, "{body}");
        };
        check(r#"{"model":"m","messages":[]}"#, 0);
        // Four, the role and the text.
        check(r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#, 6);
        check(r#"{"model":"m","messages":[{"role":"user","content":"hello"},{"role":"user","content":null}]}"#, 11);
        check(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAAAAAAAAAAAAAAAAAAA"}}]}]}"#,
            1_006,
        );
        check(r#"{"messages":[{"content":"\u00fc"}],"tools":[{"type":"function"}],"user":"not shown"}"#, 12);
    }
}
