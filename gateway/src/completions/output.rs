//! The output in an answer, or in a chunk of one: every text that a model wrote and a client pays for.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json_edit;

/// One choice of an answer, with the texts that it delivers.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    /// Its number.
    pub(crate) index: u64,
    /// Why it ended, where it says so; `null` where it has not.
    pub(crate) finish_reason: Option<&'a RawValue>,
    /// Repeats the text, token by token.
    pub(crate) logprobs: Option<&'a RawValue>,
    /// The whole choice.
    pub(crate) whole: &'a RawValue,
    pub(crate) texts: Vec<Text<'a>>,
}

/// A text of output.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    /// Texts of one place in the chunks of a stream are one text.
    pub(crate) place: Place,
    /// Where it stands.
    pub(crate) raw: &'a RawValue,
    /// What it says.
    pub(crate) text: Cow<'a, str>,
}

/// Where a text belongs: its choice, and which of the choice's texts it is.
pub(crate) type Place = (u64, Channel);

/// The texts of one choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    Content,
    Reasoning,
    Refusal,
    /// The name of the tool to call, by the call's number.
    ToolName(u64),
    /// What a tool is called with, by the call's number.
    ToolArguments(u64),
    /// The one function of the interface before tools.
    FunctionName,
    FunctionArguments,
}

impl Choice<'_> {
    /// Whether it says why it ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish_reason.is_some_and(|reason| reason.get() != "null")
    }
}

impl Text<'_> {
    /// The JSON that keeps only so many bytes of the text.
    pub(crate) fn cut_to(&self, bytes: usize) -> String {
        if !self.raw.get().starts_with('"') {
            return "null".to_owned();
        }
        // A text that can't be read is counted as it stands, and can't be divided.
        let kept = if self.is_readable() { &self.text[..bytes] } else { "" };
        serde_json::to_string(kept).unwrap_or_else(|_| "\"\"".to_owned())
    }

    fn is_readable(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }
}

/// Reads the value of `choices`. What has another shape than it should counts as a text, by its JSON: nothing passes for
/// free because it is odd.
pub(crate) fn choices(choices: &RawValue) -> Vec<Choice<'_>> {
    let choices: Vec<&RawValue> = serde_json::from_str(choices.get()).unwrap_or_default();
    choices.iter().enumerate().map(|(at, whole)| choice(at as u64, whole)).collect()
}

fn choice(at: u64, whole: &RawValue) -> Choice<'_> {
    let Ok(fields) = json_edit::object_in::<ChoiceFields<'_>>(whole.get()) else {
        return Choice { index: at, finish_reason: None, logprobs: None, whole, texts: odd(at, whole).collect() };
    };
    let index = fields.index.and_then(|index| serde_json::from_str(index.get()).ok()).unwrap_or(at);
    let mut texts = Vec::new();
    for raw in [fields.delta, fields.message].into_iter().flatten() {
        match json_edit::object_in::<Message<'_>>(raw.get()) {
            Ok(message) => message.texts(index, &mut texts),
            Err(_) => texts.extend(odd(index, raw)),
        }
    }
    Choice { index, finish_reason: fields.finish_reason, logprobs: fields.logprobs, whole, texts }
}

/// What can't be read, as one text.
fn odd(index: u64, raw: &RawValue) -> impl Iterator<Item = Text<'_>> {
    let text = Cow::Borrowed(raw.get());
    (raw.get() != "null").then_some(Text { place: (index, Channel::Content), raw, text }).into_iter()
}

#[derive(Deserialize)]
struct ChoiceFields<'a> {
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    index: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    content: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json_edit::present")]
    function_call: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
    /// A tool without a schema.
    #[serde(borrow, default)]
    custom: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "input")]
    arguments: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    fn texts(&self, index: u64, texts: &mut Vec<Text<'a>>) {
        let mut add = |channel: Channel, value: Option<&'a RawValue>| {
            texts.extend(value.and_then(|raw| Some(Text { place: (index, channel), raw, text: text_of(raw)? })));
        };
        // Some servers send their reasoning under both of its names.
        add(Channel::Reasoning, self.reasoning_content);
        if self.reasoning_content.is_none_or(|value| value.get() == "null") {
            add(Channel::Reasoning, self.reasoning);
        }
        add(Channel::Content, self.content);
        add(Channel::Refusal, self.refusal);
        if let Some(calls) = self.tool_calls {
            match serde_json::from_str::<Option<Vec<ToolCall<'a>>>>(calls.get()) {
                Ok(calls) => {
                    for (at, call) in calls.into_iter().flatten().enumerate() {
                        let number = call.index.unwrap_or(at as u64);
                        for function in [call.function, call.custom].into_iter().flatten() {
                            add(Channel::ToolName(number), function.name);
                            add(Channel::ToolArguments(number), function.arguments);
                        }
                    }
                }
                Err(_) => add(Channel::ToolArguments(0), Some(calls)),
            }
        }
        if let Some(call) = self.function_call {
            match serde_json::from_str::<Option<Function<'a>>>(call.get()) {
                Ok(function) => {
                    add(Channel::FunctionName, function.as_ref().and_then(|function| function.name));
                    add(Channel::FunctionArguments, function.and_then(|function| function.arguments));
                }
                Err(_) => add(Channel::FunctionArguments, Some(call)),
            }
        }
    }
}

/// What a string says, and anything else as its JSON. Half of a character (an escape without the other one, which comes in
/// the next chunk) is no text and counts as it stands.
fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<Option<String>>(value.get()) {
        Ok(None) => None,
        Ok(Some(text)) => (!text.is_empty()).then_some(Cow::Owned(text)),
        Err(_) => Some(Cow::Borrowed(value.get())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_choice_is_found() {
        let check = |json: &str, expected: &[(u64, Channel, &str)]| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let found = choices(raw);
            let texts: Vec<_> =
                found.iter().flat_map(|c| &c.texts).map(|t| (t.place.0, t.place.1, t.text.as_ref())).collect();
            assert_eq!(texts, expected, "{json}");
        };
        use Channel::{Content, FunctionArguments, FunctionName, Reasoning, Refusal, ToolArguments, ToolName};
        check("[]", &[]);
        check("7", &[]);
        check("[{}]", &[]);
        check(r#"[{"delta":{"role":"assistant","content":""}}]"#, &[]);
        check(r#"[{"delta":{"content":"h\u00fc"}}]"#, &[(0, Content, "hü")]);
        check(r#"[{"delta":{"content":null}}]"#, &[]);
        check(
            r#"[{"index":1,"message":{"content":"abc","reasoning_content":"de"}},{"index":0,"message":{"refusal":"f"}}]"#,
            &[(1, Reasoning, "de"), (1, Content, "abc"), (0, Refusal, "f")],
        );
        check(r#"[{"delta":{"reasoning":"abc","reasoning_content":"abc"}}]"#, &[(0, Reasoning, "abc")]);
        check(r#"[{"delta":{"reasoning":"abc","reasoning_content":null}}]"#, &[(0, Reasoning, "abc")]);
        // Ids and types are the interface's, not the model's.
        check(
            r#"[{"delta":{"tool_calls":[{"index":2,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a"}}]}}]"#,
            &[(0, ToolName(2), "f"), (0, ToolArguments(2), "{\"a")],
        );
        check(
            r#"[{"message":{"tool_calls":[{"custom":{"name":"sql","input":"select"}}]}}]"#,
            &[(0, ToolName(0), "sql"), (0, ToolArguments(0), "select")],
        );
        check(
            r#"[{"delta":{"function_call":{"name":"f","arguments":"1"}}}]"#,
            &[(0, FunctionName, "f"), (0, FunctionArguments, "1")],
        );
        // What has another shape counts by its JSON.
        check(r#"[{"delta":{"tool_calls":"x y"}}]"#, &[(0, ToolArguments(0), "x y")]);
        check(r#"[{"message":{"content":[{"text":"x"}]}}]"#, &[(0, Content, r#"[{"text":"x"}]"#)]);
        check(r#"[{"delta":{"content":"\ud83d"}}]"#, &[(0, Content, r#""\ud83d""#)]);
        check(r#"[{"delta":{"content":"a","content":"b"}}]"#, &[(0, Content, r#"{"content":"a","content":"b"}"#)]);
        check(r#"[{"delta":null},"x"]"#, &[(1, Content, "\"x\"")]);
    }

    #[test]
    fn a_text_is_cut_as_json() {
        let check = |value: &str, bytes: usize, expected: &str| {
            let json = format!(r#"[{{"delta":{{"content":{value}}}}}]"#);
            let raw: &RawValue = serde_json::from_str(&json).unwrap();
            assert_eq!(choices(raw)[0].texts[0].cut_to(bytes), expected, "{value}");
        };
        check(r#""a\"b c""#, 3, r#""a\"b""#);
        check(r#""abc""#, 0, r#""""#);
        check(r#""\ud83d""#, 3, r#""""#);
        check(r#"[{"text":"x"}]"#, 5, "null");
    }
}
