//! Changing single values of a JSON text and leaving every other byte as it was.
//!
//! Requests and answers pass through a gateway that knows few of their fields. Parsing and writing them anew would
//! reorder keys and reformat numbers, so values are replaced in place.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Replacements in one JSON text.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    edits: Vec<(Range<usize>, String)>,
}

impl Edits {
    /// Replaces a value that was borrowed from `text`.
    pub(crate) fn replace(&mut self, text: &[u8], value: &RawValue, with: impl Into<String>) {
        self.edits.push((range_of(text, value), with.into()));
    }

    /// Replaces what stands there.
    pub(crate) fn replace_at(&mut self, range: Range<usize>, with: impl Into<String>) {
        self.edits.push((range, with.into()));
    }

    /// Adds `"name":value` as the first member of the object that `text` is.
    pub(crate) fn add_first(&mut self, text: &[u8], name: &str, value: &str) {
        let inside = inside(text);
        let comma = if is_blank(text, &inside) { "" } else { "," };
        self.edits.push((inside.start..inside.start, format!("\"{name}\":{value}{comma}")));
    }

    /// Adds `"name":value` as the last member of the object that `text` is.
    pub(crate) fn add_last_of_all(&mut self, text: &[u8], name: &str, value: &str) {
        let inside = inside(text);
        let comma = if is_blank(text, &inside) { "" } else { "," };
        self.edits.push((inside.end..inside.end, format!("{comma}\"{name}\":{value}")));
    }

    /// Adds `"name":value` as the last member of `object`, an object that was borrowed from `text`.
    pub(crate) fn add_last(&mut self, text: &[u8], object: &RawValue, name: &str, value: &str) {
        let end = range_of(text, object).end - 1;
        let comma = if is_empty_object(object) { "" } else { "," };
        self.edits.push((end..end, format!("{comma}\"{name}\":{value}")));
    }

    /// Whether nothing is to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The text with all replacements made. Replacements may come in any order but must not overlap.
    pub(crate) fn apply(mut self, text: &Bytes) -> Bytes {
        if self.is_empty() {
            return text.clone();
        }
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let added: usize = self.edits.iter().map(|(_, with)| with.len()).sum();
        let mut edited = BytesMut::with_capacity(text.len() + added);
        let mut done = 0;
        for (range, with) in self.edits {
            debug_assert!(done <= range.start, "overlapping edits");
            edited.extend_from_slice(&text[done..range.start]);
            edited.extend_from_slice(with.as_bytes());
            done = range.end;
        }
        edited.extend_from_slice(&text[done..]);
        edited.freeze()
    }
}

/// Reads the named fields of a JSON object. serde alone would read an array as a struct, too, by position.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    // At once, and not for each value that is borrowed from it.
    object_in(std::str::from_utf8(text).map_err(|error| error.to_string())?)
}

/// The same of a text that is known to be one.
pub(crate) fn object_in<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    if text.trim_ascii_start().as_bytes().first() != Some(&b'{') {
        return Err("it does not begin with {".to_owned());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// For a field whose `null` is to be told apart from its absence: `Option` alone reads both as `None`.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Where a value that was borrowed from `text` stands in it.
pub(crate) fn range_of(text: &[u8], value: &RawValue) -> Range<usize> {
    let value = value.get();
    let start = (value.as_ptr() as usize) - (text.as_ptr() as usize);
    debug_assert!(start + value.len() <= text.len(), "the value is not borrowed from this text");
    start..start + value.len()
}

/// What stands between the braces of the object that `text` is, in its bytes.
fn inside(text: &[u8]) -> Range<usize> {
    let start = text.len() - text.trim_ascii_start().len() + 1;
    start..text.trim_ascii_end().len().saturating_sub(1).max(start)
}

fn is_blank(text: &[u8], range: &Range<usize>) -> bool {
    text.get(range.clone()).is_none_or(|inside| inside.trim_ascii().is_empty())
}

fn is_empty_object(object: &RawValue) -> bool {
    let text = object.get();
    text[1..text.len() - 1].trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Two<'a> {
        #[serde(borrow)]
        a: Option<&'a RawValue>,
        #[serde(borrow)]
        b: Option<&'a RawValue>,
    }

    #[test]
    fn only_the_named_values_change() {
        let check = |text: &'static str, edit: fn(&mut Edits, &[u8], Two<'_>), expected: &str| {
            let text = Bytes::from_static(text.as_bytes());
            let mut edits = Edits::default();
            edit(&mut edits, &text, serde_json::from_slice(&text).unwrap());
            assert_eq!(edits.apply(&text), expected.as_bytes());
        };
        check("{ \"a\" : 1.0e0 ,\"x\":1}", |_, _, _| (), "{ \"a\" : 1.0e0 ,\"x\":1}");
        check("{ \"a\" : 1.0e0 ,\"x\":1}", |e, t, two| e.replace(t, two.a.unwrap(), "7"), "{ \"a\" : 7 ,\"x\":1}");
        check(
            "{\"b\":{ },\"a\":{\"k\":\"ü\" }}",
            |e, t, two| {
                e.add_last(t, two.a.unwrap(), "n", "1");
                e.add_last(t, two.b.unwrap(), "n", "2");
            },
            "{\"b\":{ \"n\":2},\"a\":{\"k\":\"ü\" ,\"n\":1}}",
        );
        check(
            "{\"b\":{ },\"a\":{\"k\":1}}",
            |e, t, two| {
                e.replace_at(range_of(t, two.a.unwrap()), "1");
                e.add_last_of_all(t, "n", "2");
                e.add_first(t, "m", "3");
            },
            "{\"m\":3,\"b\":{ },\"a\":1,\"n\":2}",
        );
        check(" { } ", |e, t, _| e.add_first(t, "n", "1"), " {\"n\":1 } ");
        check(" { }\n", |e, t, _| e.add_last_of_all(t, "n", "1"), " { \"n\":1}\n");
    }
}
