//! Server-sent events, byte by byte: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! Lines end in LF, CRLF or CR, `data:` may stand on several lines, comment lines keep a connection alive, and a chunk
//! may end anywhere, within a UTF-8 character too.

use bytes::{Buf as _, Bytes, BytesMut};

/// The most bytes that one event may have. A longer one is a fault of the upstream.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// One event as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// All its bytes, the empty line that ends it included.
    pub(crate) raw: Bytes,
    /// Its `data`, lines joined with LF; `None` for an event without any (a comment, say).
    pub(crate) data: Option<Bytes>,
}

impl SseEvent {
    /// Whether it holds comments only.
    pub(crate) fn is_comment(&self) -> bool {
        let mut lines = self.raw.split(|byte| is_line_break(*byte)).filter(|line| !line.is_empty()).peekable();
        lines.peek().is_some() && lines.all(|line| line.starts_with(b":"))
    }
}

/// The upstream sent an event beyond [`MAX_EVENT_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventTooLong;

/// Cuts a stream of chunks into events.
#[derive(Debug, Default)]
pub(crate) struct SseSplitter {
    buffer: BytesMut,
    /// Bytes of `buffer` known to hold no end of an event.
    scanned: usize,
    /// Whether the first event was taken.
    begun: bool,
}

/// A stream may begin with a byte order mark, which is no part of its first line.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl SseSplitter {
    /// Takes a chunk.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), EventTooLong> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() > MAX_EVENT_BYTES {
            return Err(EventTooLong);
        }
        Ok(())
    }

    /// The next whole event.
    pub(crate) fn next(&mut self) -> Option<SseEvent> {
        let end = self.end_of_event()?;
        self.scanned = 0;
        let raw = self.buffer.split_to(end).freeze();
        Some(self.event(raw))
    }

    fn event(&mut self, mut raw: Bytes) -> SseEvent {
        if !std::mem::replace(&mut self.begun, true) && raw.starts_with(BYTE_ORDER_MARK) {
            raw.advance(BYTE_ORDER_MARK.len());
        }
        SseEvent { data: data_of(&raw), raw }
    }

    /// What is left when the stream ends without an empty line: an event cut off, or one that a sloppy upstream did not
    /// end.
    pub(crate) fn finish(&mut self) -> Option<SseEvent> {
        if let Some(event) = self.next() {
            return Some(event);
        }
        if self.buffer.is_empty() {
            return None;
        }
        let mut raw = self.buffer.split();
        self.scanned = 0;
        raw.extend_from_slice(b"\n\n");
        Some(self.event(raw.freeze()))
    }

    /// The offset right after the first empty line.
    fn end_of_event(&mut self) -> Option<usize> {
        let bytes = &self.buffer;
        let mut at = self.scanned;
        while at < bytes.len() {
            let Some(first) = line_end(bytes, at) else {
                if is_line_break(bytes[at]) {
                    // A CR at the very end: whether an LF belongs to it is not known yet.
                    break;
                }
                at += 1;
                continue;
            };
            match line_end(bytes, first) {
                Some(second) => return Some(second),
                None if first < bytes.len() && !is_line_break(bytes[first]) => at = first,
                None => break,
            }
        }
        self.scanned = at;
        None
    }
}

fn is_line_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// The offset after a line break at `at`; `None` where there is none, or it may not be whole yet.
fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes.get(at)?, bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Some(at + 2),
        (b'\n', _) | (b'\r', Some(_)) => Some(at + 1),
        _ => None,
    }
}

fn data_of(raw: &Bytes) -> Option<Bytes> {
    let mut data: Option<Bytes> = None;
    for line in raw.split(|byte| is_line_break(*byte)) {
        let Some(value) = line.strip_prefix(b"data").and_then(|rest| match rest {
            [] => Some(rest),
            [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
            _ => None,
        }) else {
            continue;
        };
        data = Some(match data {
            None => raw.slice_ref(value),
            Some(before) => [&before, &b"\n"[..], value].concat().into(),
        });
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> Vec<(String, Option<String>)> {
        let mut splitter = SseSplitter::default();
        let mut events = Vec::new();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        for chunk in chunks {
            splitter.push(chunk).unwrap();
            while let Some(event) = splitter.next() {
                events.push((text(&event.raw), event.data.as_ref().map(text)));
            }
        }
        while let Some(event) = splitter.finish() {
            events.push((text(&event.raw), event.data.as_ref().map(text)));
        }
        events
    }

    #[test]
    fn events_are_cut_at_empty_lines() {
        let check = |stream: &str, expected: &[(&str, Option<&str>)]| {
            let owned: Vec<_> =
                expected.iter().map(|(raw, data)| ((*raw).to_owned(), data.map(str::to_owned))).collect();
            assert_eq!(split(&[stream.as_bytes()]), owned, "{stream:?}");
        };
        check("data: a\n\ndata:b\n\n", &[("data: a\n\n", Some("a")), ("data:b\n\n", Some("b"))]);
        check("data: a\r\n\r\ndata: b\r\n\r\n", &[("data: a\r\n\r\n", Some("a")), ("data: b\r\n\r\n", Some("b"))]);
        check(": keep-alive\n\n", &[(": keep-alive\n\n", None)]);
        check("event: x\ndata: a\ndata: b\nid: 1\n\n", &[("event: x\ndata: a\ndata: b\nid: 1\n\n", Some("a\nb"))]);
        check("data\n\n", &[("data\n\n", Some(""))]);
        check("database: x\n\n", &[("database: x\n\n", None)]);
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[("data: a\n\n", Some("a")), ("\u{feff}data: b\n\n", None)]);
        check("data: [DONE]", &[("data: [DONE]\n\n", Some("[DONE]"))]);
        check("data: a\n", &[("data: a\n\n\n", Some("a"))]);
        check("", &[]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut splitter = SseSplitter::default();
        let chunk = vec![b'x'; MAX_EVENT_BYTES];
        assert_eq!(splitter.push(&chunk), Ok(()));
        assert_eq!(splitter.push(b"x"), Err(EventTooLong));
    }

    proptest! {
        /// However the network cuts the stream, the same events come out and no byte is lost.
        #[test]
        fn cuts_do_not_matter(
            parts in prop::collection::vec(prop_oneof!["data: [a-zü]{0,5}", ": [a-z]{0,3}", Just(String::new())], 0..12),
            breaks in prop::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n"), Just("\r\n\r\n")], 12),
            cuts in prop::collection::vec(0..200_usize, 0..6),
        ) {
            let stream: String = parts.iter().map(String::as_str).zip(breaks).flat_map(|(part, end)| [part, end]).collect();
            let bytes = stream.as_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            let whole = split(&[bytes]);
            prop_assert_eq!(split(&chunks), whole.clone());
            let joined: String = whole.into_iter().map(|(raw, _)| raw).collect();
            prop_assert!(joined == stream || joined == stream + "\n\n");
        }
    }
}
