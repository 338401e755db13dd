//! What upstreams do in the field.

use std::time::Duration;

use super::Scripts;
use crate::upstream::{Piece, Script};

/// One case.
pub(crate) struct Fault {
    /// What the upstream does.
    pub(crate) what: &'static str,
    /// The model that is asked for.
    pub(crate) model: &'static str,
    /// Choices asked for.
    pub(crate) n: u64,
    /// Whether the client leaves.
    pub(crate) leaves: bool,
    whole: Scripts,
    streamed: Scripts,
}

impl Fault {
    fn new(what: &'static str, whole: Script, streamed: Script) -> Self {
        Self { what, model: "m", n: 1, leaves: false, whole: [Some(whole), None], streamed: [Some(streamed), None] }
    }

    /// The same, whole and streamed.
    fn same(what: &'static str, script: &Script) -> Self {
        Self::new(what, script.clone(), script.clone())
    }

    fn leaving(self) -> Self {
        Self { leaves: true, ..self }
    }

    fn choices(self, n: u64) -> Self {
        Self { n, ..self }
    }

    /// With a fallback, which does this.
    fn then(mut self, whole: Option<Script>, streamed: Option<Script>) -> Self {
        (self.whole[1], self.streamed[1]) = (whole, streamed);
        Self { model: "f", ..self }
    }

    /// What the first and the second upstream do.
    pub(crate) fn scripts(&self, stream: bool) -> Scripts {
        if stream { self.streamed.clone() } else { self.whole.clone() }
    }
}

const ERROR: &str = r#"{"error":{"message":"no","type":"x","param":null,"code":"theirs"}}"#;
const ROLE: &str = r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#;
const HELLO: &str = r#"{"index":0,"delta":{"content":"hello world"},"finish_reason":null}"#;
const STOP: &str = r#"{"index":0,"delta":{},"finish_reason":"stop"}"#;
const EMPTY: &[u8] = b"data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":null}]}\n\n";
const USAGE: &str = r#"{"prompt_tokens":7,"completion_tokens":3}"#;

fn data(json: &str) -> Piece {
    Piece::Bytes(format!("data: {json}\n\n").into())
}

fn chunk(choice: &str) -> Piece {
    data(&format!(r#"{{"id":"x","created":7,"model":"um","choices":[{choice}]}}"#))
}

fn usage(usage: &str) -> Piece {
    data(&format!(r#"{{"id":"x","created":7,"model":"um","choices":[],"usage":{usage}}}"#))
}

fn done() -> Piece {
    data("[DONE]")
}

fn whole(choices: &str, usage: &str) -> Script {
    let usage = if usage.is_empty() { String::new() } else { format!(r#","usage":{usage}"#) };
    Script::json(200, &format!(r#"{{"id":"x","created":7,"model":"um","choices":[{choices}]{usage}}}"#))
}

fn message(index: u64, message: &str, reason: &str) -> String {
    format!(r#"{{"index":{index},"message":{{"role":"assistant",{message}}},"finish_reason":"{reason}"}}"#)
}

fn said(text: &str) -> String {
    message(0, &format!(r#""content":"{text}""#), "stop")
}

/// `pieces`, as they come in a whole answer's body.
fn slow(pieces: Vec<Piece>) -> Script {
    Script { pieces, ..Script::json(200, "") }
}

/// Forty words, where ten tokens were asked for.
fn endless() -> String {
    " x".repeat(40)
}

fn endless_chunks(delta: &str) -> Vec<Piece> {
    let delta = delta.replace('…', &" x".repeat(5));
    let one = format!(r#"{{"index":0,"delta":{{{delta}}},"finish_reason":null}}"#);
    (0..8).map(|_| chunk(&one)).chain([Piece::Hang]).collect()
}

/// Everything, in the order of the table.
pub(crate) fn faults() -> Vec<Fault> {
    [answers(), beyond_the_hold(), refusals(), nothing_comes(), breaks(), clients(), fallbacks()]
        .into_iter()
        .flatten()
        .collect()
}

fn answers() -> Vec<Fault> {
    let good = || whole(&said("hello world"), USAGE);
    let stream = |pieces: Vec<Piece>| Script::stream([vec![chunk(ROLE), chunk(HELLO)], pieces].concat());
    let nonsense = r#"{"prompt_tokens":-1,"completion_tokens":3}"#;
    let shreds = |script: Script| {
        let mut pieces = Vec::new();
        for piece in script.pieces {
            let Piece::Bytes(bytes) = piece else { continue };
            pieces.extend(bytes.chunks(7).map(|bytes| Piece::Bytes(bytes.to_vec())));
        }
        Script { pieces, ..script }
    };
    let normal = || stream(vec![chunk(STOP), usage(USAGE), done()]);
    let merged = format!(r#"{{"id":"x","choices":[{STOP}],"usage":{USAGE}}}"#);
    vec![
        Fault::new("answers", good(), normal()),
        Fault::new("answers in shreds", shreds(good()), shreds(normal())),
        Fault::new("sends no usage", whole(&said("hello world"), ""), stream(vec![chunk(STOP), done()])),
        Fault::new(
            "sends usage that makes no sense",
            whole(&said("hello world"), nonsense),
            stream(vec![chunk(STOP), usage(nonsense), done()]),
        ),
        Fault::new("sends usage with its last choice", good(), stream(vec![data(&merged), done()])),
        Fault::new("forgets `[DONE]`", good(), stream(vec![chunk(STOP), usage(USAGE)])),
        Fault::new(
            "sends keep-alives first",
            slow(vec![Piece::Bytes(b"\n\n".to_vec()), good().pieces.remove(0)]),
            Script::stream([vec![Piece::Bytes(b": wait\n\n".to_vec())], normal().pieces].concat()),
        ),
    ]
}

fn beyond_the_hold() -> Vec<Fault> {
    let measured = r#"{"prompt_tokens":7,"completion_tokens":40}"#;
    let all = format!(r#"{{"index":0,"delta":{{"content":"{}"}},"finish_reason":"stop"}}"#, endless());
    let stream = |delta: &str| Script::stream(endless_chunks(delta));
    let reasoning = message(0, &format!(r#""content":null,"reasoning_content":"{}""#, endless()), "stop");
    let call = |arguments: &str| {
        format!(
            r#""tool_calls":[{{"index":0,"id":"c","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}]"#
        )
    };
    let both = format!("{},{}", said(&endless()), message(1, &format!(r#""content":"{}""#, endless()), "stop"));
    let second = format!(r#"{{"index":1,"delta":{{"content":"{}"}},"finish_reason":null}}"#, endless());
    let prompt = r#"{"prompt_tokens":999999,"completion_tokens":3}"#;
    vec![
        Fault::new("ignores `max_tokens`", whole(&said(&endless()), ""), stream(r#""content":"…""#)),
        Fault::new(
            "ignores `max_tokens`, and says so",
            whole(&said(&endless()), measured),
            Script::stream([vec![chunk(HELLO), chunk(STOP)], vec![usage(measured), done()]].concat()),
        ),
        Fault::new(
            "ignores `max_tokens`, all at once",
            whole(&said(&endless()), ""),
            Script::stream(vec![chunk(&all), done()]),
        ),
        Fault::new(
            "ignores `max_tokens` in its reasoning",
            whole(&reasoning, ""),
            stream(r#""reasoning_content":"…""#),
        ),
        Fault::new(
            "ignores `max_tokens` in a tool call",
            whole(&message(0, &call(&endless()), "tool_calls"), ""),
            stream(&call("…")),
        ),
        Fault::new(
            "ignores `max_tokens` in both of two choices",
            whole(&both, ""),
            Script::stream(vec![chunk(HELLO), chunk(&second), Piece::Hang]),
        )
        .choices(2),
        Fault::new(
            "counts more of the prompt than it has bytes",
            whole(&said("hello world"), prompt),
            Script::stream(vec![chunk(HELLO), chunk(STOP), usage(prompt), done()]),
        ),
    ]
}

fn refusals() -> Vec<Fault> {
    let status = |what, status| Fault::same(what, &Script::json(status, ERROR));
    vec![
        Fault { model: "dead", whole: [None, None], streamed: [None, None], ..status("refuses connections", 500) },
        status("answers 400", 400),
        status("answers 401", 401),
        status("answers 403", 403),
        status("answers 429", 429),
        status("answers 500", 500),
        status("answers 503", 503),
        Fault::new("answers 200 with an error", Script::json(200, ERROR), Script::stream(vec![data(ERROR)])),
        Fault::same("answers 200 with a web page", &Script::json(200, "<html></html>")),
        Fault::same("answers 200 with nothing", &Script::json(200, "")),
        Fault::new("answers 200 with `{}`", Script::json(200, "{}"), Script::stream(vec![data("oops")])),
    ]
}

fn nothing_comes() -> Vec<Fault> {
    let keep_alive = |bytes: &[u8]| {
        let pieces = [Piece::Bytes(bytes.to_vec()), Piece::Wait(Duration::from_millis(700))];
        std::iter::repeat_n(pieces, 20).flatten().collect::<Vec<_>>()
    };
    vec![
        Fault::same("hangs before its first token", &slow(vec![Piece::Hang])),
        Fault::new("sends only keep-alives", slow(keep_alive(b"\n")), Script::stream(keep_alive(b": wait\n\n"))),
        Fault::new(
            "hangs after the role, or the first bytes",
            slow(vec![Piece::Bytes(b"{\"id\":".to_vec()), Piece::Hang]),
            Script::stream(vec![chunk(ROLE), Piece::Hang]),
        ),
        Fault::new(
            "hangs in the middle",
            slow(vec![Piece::Bytes(b"{\"id\":".to_vec()), Piece::Hang]),
            Script::stream(vec![chunk(ROLE), chunk(HELLO), Piece::Hang]),
        ),
        Fault::new(
            "sends only keep-alives after its first words",
            slow([vec![Piece::Bytes(b"{\"id\":".to_vec())], keep_alive(b"\n")].concat()),
            Script::stream([vec![chunk(ROLE), chunk(HELLO)], keep_alive(b": wait\n\n")].concat()),
        ),
        Fault::new(
            "sends only empty chunks after its first words",
            slow([vec![Piece::Bytes(b"{\"id\":".to_vec())], keep_alive(b" ")].concat()),
            Script::stream([vec![chunk(ROLE), chunk(HELLO)], keep_alive(EMPTY)].concat()),
        ),
    ]
}

fn breaks() -> Vec<Fault> {
    let half = || Piece::Bytes(b"{\"id\":".to_vec());
    vec![
        Fault::same("breaks before its first token", &slow(vec![Piece::Break])),
        Fault::new(
            "breaks in the middle",
            slow(vec![half(), Piece::Break]),
            Script::stream(vec![chunk(ROLE), chunk(HELLO), Piece::Break]),
        ),
        Fault::new("ends in the middle", slow(vec![half()]), Script::stream(vec![chunk(ROLE), chunk(HELLO)])),
        Fault::new(
            "errs in the middle",
            Script::json(200, ERROR),
            Script::stream(vec![chunk(ROLE), chunk(HELLO), data(ERROR)]),
        ),
    ]
}

fn clients() -> Vec<Fault> {
    let late = |script: Script| Script { pieces: [script.pieces, vec![Piece::Hang]].concat(), ..script };
    vec![
        Fault::same("is still silent when the client leaves", &slow(vec![Piece::Hang])).leaving(),
        Fault::new(
            "is in the middle when the client leaves",
            late(slow(vec![Piece::Bytes(b"{\"id\":".to_vec())])),
            late(Script::stream(vec![chunk(ROLE), chunk(HELLO)])),
        )
        .leaving(),
    ]
}

/// The first upstream fails, and there is another one.
fn fallbacks() -> Vec<Fault> {
    let good = || Some(whole(&said("hello world"), USAGE));
    let stream = || Some(Script::stream(vec![chunk(HELLO), chunk(STOP), usage(USAGE), done()]));
    let status = |status| Script::json(status, ERROR);
    let answered = |what, script: Script| Fault::same(what, &script).then(good(), stream());
    vec![
        answered("answers 500, and its fallback answers", status(500)),
        answered("answers 429, and its fallback answers", status(429)),
        answered("hangs, and its fallback answers", slow(vec![Piece::Hang])),
        Fault::new(
            "errs under 200, and its fallback answers",
            Script::json(200, ERROR),
            Script::stream(vec![data(ERROR)]),
        )
        .then(good(), stream()),
        Fault::same("answers 500, and its fallback 429", &status(500)).then(Some(status(429)), Some(status(429))),
        Fault::same("answers 400, which no fallback is asked about", &status(400)).then(None, None),
        Fault::new(
            "breaks in the middle, which no fallback is asked about",
            slow(vec![Piece::Bytes(b"{\"id\":".to_vec()), Piece::Break]),
            Script::stream(vec![chunk(HELLO), Piece::Break]),
        )
        .then(None, None),
    ]
}
