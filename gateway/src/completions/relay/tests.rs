//! What the client gets and what is charged, for each shape of stream in the field.

use Accuracy::{Estimated, Measured};

use super::*;
use crate::sse::SseSplitter;

/// Runs a stream through a relay; returns what was sent, how it ended, and the relay.
fn run(include_usage: bool, stream: &str) -> (String, Option<Step>, Relay) {
    let mut relay = Relay::new("m".into(), "um".into(), include_usage, 5, 100);
    let mut splitter = SseSplitter::default();
    splitter.push(stream.as_bytes()).unwrap();
    let mut sent = String::new();
    while let Some(event) = splitter.next() {
        match relay.event(event) {
            Step::Send(bytes) => sent.push_str(std::str::from_utf8(&bytes).unwrap()),
            Step::Nothing => {}
            end => return (sent, Some(end), relay),
        }
    }
    (sent, None, relay)
}

const HELLO: &str =
    "data: {\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"hello wo\"}}]}\n\n";
const STOP: &str = "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"id\":\"c1\",\"model\":\"um\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":10}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn the_usage_chunk_reaches_only_a_client_that_asked() {
    let check = |include_usage: bool, stream: &[&str], sent: &[&str], ending: &str| {
        let (got, end, relay) = run(include_usage, &stream.concat());
        assert_eq!((got, end), (sent.concat(), Some(Step::Done)));
        let completed = relay.completed();
        let bytes = relay.ending_bytes(&completed, "0.000005".parse().unwrap());
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), ending.to_owned() + DONE);
    };
    check(false, &[HELLO, STOP, USAGE, DONE], &[HELLO, STOP], "");
    check(
        true,
        &[HELLO, STOP, USAGE, DONE],
        &[HELLO, STOP],
        "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":10,\"cost_usd\":0.000005}}\n\n",
    );
    // Usage merged into the finish chunk: the client still gets it in a chunk of its own, without choices.
    let merged = "data: {\"id\":\"c1\",\"created\":7,\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":10}}\n\n";
    let stripped = "data: {\"id\":\"c1\",\"created\":7,\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
    check(false, &[HELLO, merged, DONE], &[HELLO, stripped], "");
    check(
        true,
        &[HELLO, merged, DONE],
        &[HELLO, stripped],
        "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":10,\"total_tokens\":20,\"cost_usd\":0.000005}}\n\n",
    );
    // None at all: 5 prompt tokens and 8 bytes of output are estimated.
    check(
        true,
        &[HELLO, STOP, DONE],
        &[HELLO, STOP],
        "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7,\"cost_usd\":0.000005}}\n\n",
    );
    // Keep-alives pass; odd line ends, too; the upstream's own model name does not.
    check(
        false,
        &[": ping\n\n", "data: {\"model\":\"um\",\"choices\":[{}]}\r\n\r\n", HELLO, DONE],
        &[": ping\n\n", "data: {\"model\":\"m\",\"choices\":[{}]}\n\n", HELLO],
        "",
    );
}

#[test]
fn what_is_charged() {
    type Charge = (Accuracy, u64, u64);
    let check = |stream: &[&str], completed: Charge, gone: Charge, failed: Charge| {
        let relay = run(false, &stream.concat()).2;
        let charge = |ending: Ending| (ending.accuracy, ending.tokens.prompt, ending.tokens.completion);
        assert_eq!(charge(relay.completed()), completed);
        assert_eq!(charge(relay.client_gone()), gone);
        assert_eq!(charge(relay.upstream_failed()), failed);
    };
    check(&[], (Estimated, 5, 0), (Estimated, 5, 0), (Estimated, 0, 0));
    check(&[HELLO], (Estimated, 5, 2), (Estimated, 5, 2), (Estimated, 0, 2));
    check(&[HELLO, HELLO, USAGE], (Measured, 10, 10), (Estimated, 10, 4), (Estimated, 0, 4));
    let long = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(1_000));
    check(&[&long], (Estimated, 5, 100), (Estimated, 5, 100), (Estimated, 0, 100));
}

#[test]
fn failures_and_ends_are_told_apart() {
    let check = |stream: &[&str], end: Option<Step>, whole: bool| {
        let (_, got, relay) = run(false, &stream.concat());
        assert_eq!((got, relay.is_whole()), (end, whole));
    };
    check(&[HELLO], None, false);
    check(&[HELLO, STOP], None, true);
    check(&[DONE], Some(Step::Done), false);
    check(
        &["data: {\"error\":{\"message\":\"x\"}}\n\n"],
        Some(Step::Failed("sent an error instead of an answer".into())),
        false,
    );
    check(&["data: oops\n\n"], Some(Step::Failed("sent a chunk that is not a JSON object".into())), false);
}

#[test]
fn nothing_passes_that_is_not_metered() {
    let check = |stream: &str, sent: &str| {
        let (got, end, relay) = run(false, &format!("{stream}{HELLO}"));
        assert_eq!((got.as_str(), end), (format!("{sent}{HELLO}").as_str(), None), "{stream:?}");
        assert_eq!(relay.completed().tokens.completion, 2, "{stream:?}");
    };
    check(": ping\n\n", ": ping\n\n");
    check(":\r\n: ping\r\n\r\n", ":\r\n: ping\r\n\r\n");
    // Not an event at all: a whole answer of an upstream that does not stream, say.
    check("{\"choices\":[{\"message\":{\"content\":\"hello\"}}]}\n\n", "");
    check(": ping\n{\"choices\":[{\"message\":{\"content\":\"hello\"}}]}\n\n", "");
    check("event: ping\n\n", "");
    // A usage chunk that can't be read is one that the client did not ask for all the same.
    check("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-1}}\n\n", "");
}
