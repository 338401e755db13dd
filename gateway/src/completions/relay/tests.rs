//! What the client gets and what is charged, for each shape of stream in the field.

use schemas::event::Accuracy::{self, Estimated, Measured};

use super::*;
use crate::sse::SseSplitter;

/// Runs a stream through a relay; returns what was sent, how it ended, and the relay. 100 tokens of output are held.
fn run(include_usage: bool, stream: &str) -> (String, Option<Step>, Relay) {
    run_held(include_usage, 1, 100, stream)
}

fn run_held(include_usage: bool, choices: u64, completion: u64, stream: &str) -> (String, Option<Step>, Relay) {
    let held = TokenCounts { prompt: 50, completion, ..TokenCounts::default() };
    let (model, upstream_model) = ("m".to_owned(), "um".to_owned());
    let mut relay = Relay::new(Terms { model, include_usage, choices, held }, upstream_model);
    let mut splitter = SseSplitter::default();
    splitter.push(stream.as_bytes()).unwrap();
    let mut sent = String::new();
    while let Some(event) = splitter.next() {
        match relay.event(event) {
            Step::Send(bytes) | Step::Comment(bytes) => sent.push_str(std::str::from_utf8(&bytes).unwrap()),
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
        let completed = relay.completed(5);
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
        assert_eq!(charge(relay.completed(5)), completed);
        assert_eq!(charge(relay.client_gone(5)), gone);
        assert_eq!(charge(relay.upstream_failed()), failed);
    };
    check(&[], (Estimated, 5, 0), (Estimated, 5, 0), (Estimated, 0, 0));
    check(&[HELLO], (Estimated, 5, 2), (Estimated, 5, 2), (Estimated, 0, 2));
    check(&[HELLO, HELLO, USAGE], (Measured, 10, 10), (Estimated, 10, 4), (Estimated, 0, 4));
    let long = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", " x".repeat(120));
    check(&[&long], (Estimated, 5, 100), (Estimated, 5, 100), (Estimated, 0, 100));
    let beyond = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":51,\"completion_tokens\":101}}\n\n";
    check(&[HELLO, beyond], (Measured, 50, 100), (Estimated, 50, 2), (Estimated, 0, 2));
}

/// Ten tokens are held, so 21 may come by local count.
#[test]
fn output_is_cut_at_the_hold() {
    let check = |choices: u64, stream: &[&str], sent: &[&str], cut: &[&str]| {
        let (got, end, relay) = run_held(true, choices, 10, &stream.concat());
        assert_eq!((got, end), (sent.concat(), Some(Step::Cut(cut.concat().into()))), "{stream:?}");
        let ending = relay.cut(5);
        assert_eq!((ending.outcome, ending.accuracy, ending.tokens.prompt), (Outcome::Cut, Estimated, 5), "{stream:?}");
        assert_eq!(ending.tokens.completion, 10, "{stream:?}");
        let last = relay.ending_bytes(&ending, "0.000005".parse().unwrap());
        let last = std::str::from_utf8(&last).unwrap();
        assert!(last.contains("\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":10,"), "{last}");
        assert!(last.ends_with(DONE), "{last}");
    };
    let chunk =
        |choice: &str| format!("data: {{\"id\":\"c1\",\"created\":7,\"model\":\"um\",\"choices\":[{choice}]}}\n\n");
    let renamed = |choice: &str| chunk(choice).replace("\"um\"", "\"m\"");
    let content = |index: u64, words: usize| {
        format!("{{\"index\":{index},\"delta\":{{\"content\":\"{}\"}},\"finish_reason\":null}}", " x".repeat(words))
    };
    let length = |index: u64| {
        format!(
            "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"length\"}}],\"usage\":null}}\n\n"
        )
    };
    let ten = content(0, 10);
    check(
        1,
        &[&chunk(&ten), &chunk(&ten), &chunk(&ten)],
        &[&renamed(&ten), &renamed(&ten)],
        &[&renamed(&content(0, 1)), &length(0)],
    );
    // Nothing of a chunk is left: it is not sent at all.
    let exactly = content(0, 21);
    check(1, &[&chunk(&exactly), &chunk(&ten)], &[&renamed(&exactly)], &[&length(0)]);
    // One chunk with everything: what a server sends that does not really stream.
    let all = content(0, 50).replace("null", "\"stop\",\"logprobs\":{\"content\":[]}");
    let cut = content(0, 21).replace("null", "null,\"logprobs\":null");
    check(1, &[&chunk(&all)], &[], &[&renamed(&cut), &length(0)]);
    // Each choice gets its end, also one that never began; one that ended by itself keeps its own.
    let stop = "{\"index\":1,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}";
    let both = format!("{stop},{}", content(0, 20));
    check(3, &[&chunk(&both), &chunk(&ten)], &[&renamed(&both)], &[&length(0), &length(2)]);
    // Reasoning and the arguments of tools are output.
    let thought = content(0, 22).replace("content", "reasoning_content");
    let cut = content(0, 21).replace("content", "reasoning_content");
    check(1, &[&chunk(&thought)], &[], &[&renamed(&cut), &length(0)]);
    let call = |words: usize| {
        let text = " x".repeat(words);
        format!(
            "{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":0,\"id\":\"call_1\",\"function\":{{\"arguments\":\"{text}\"}}}}]}}}}"
        )
    };
    check(1, &[&chunk(&call(22))], &[], &[&renamed(&call(21)), &length(0)]);
}

/// An upstream that says in each chunk what it has counted is believed.
#[test]
fn a_measured_excess_is_cut_at_once() {
    let chunk = |completion: u64, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"x\"}},\"finish_reason\":{finish}}}],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{completion}}}}}\n\n"
        )
    };
    let charge = |relay: &Relay, ending: Ending| {
        let tokens = ending.tokens;
        assert!(relay.is_measured());
        (ending.outcome, ending.accuracy, tokens.prompt, tokens.completion)
    };
    let (_, end, relay) = run_held(false, 1, 10, &[chunk(10, "null"), chunk(11, "null")].concat());
    assert!(matches!(end, Some(Step::Cut(_))), "{end:?}");
    assert_eq!(charge(&relay, relay.cut(0)), (Outcome::Cut, Measured, 7, 10));
    // Where it has ended by itself there is nothing to call off.
    let (_, end, relay) = run_held(false, 1, 10, &chunk(11, "\"stop\""));
    assert_eq!(end, None);
    assert_eq!(charge(&relay, relay.completed(0)), (Outcome::Cut, Measured, 7, 10));
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

/// JSON is UTF-8, also in a field that nobody here reads.
#[test]
fn a_chunk_that_is_no_text_is_none() {
    let held = TokenCounts { prompt: 50, completion: 100, ..TokenCounts::default() };
    let terms = Terms { model: "m".to_owned(), include_usage: false, choices: 1, held };
    let mut relay = Relay::new(terms, "um".to_owned());
    let mut splitter = SseSplitter::default();
    splitter.push(b"data: {\"choices\":[],\"x\":\"\xff\"}\n\n").unwrap();
    let step = relay.event(splitter.next().unwrap());
    assert_eq!(step, Step::Failed("sent a chunk that is not a JSON object".into()));
}

#[test]
fn nothing_passes_that_is_not_metered() {
    let check = |stream: &str, sent: &str| {
        let (got, end, relay) = run(false, &format!("{stream}{HELLO}"));
        assert_eq!((got.as_str(), end), (format!("{sent}{HELLO}").as_str(), None), "{stream:?}");
        assert_eq!(relay.completed(5).tokens.completion, 2, "{stream:?}");
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

/// What a client puts together from the chunks that it was sent: each choice's text, and how often it was told its end.
fn assembled(sent: &str) -> BTreeMap<u64, (String, usize)> {
    let mut choices: BTreeMap<u64, (String, usize)> = BTreeMap::new();
    for event in sent.split_terminator("\n\n") {
        let chunk: serde_json::Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        for choice in chunk["choices"].as_array().unwrap() {
            let (text, ends) = choices.entry(choice["index"].as_u64().unwrap()).or_default();
            text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            *ends += usize::from(choice["finish_reason"].is_string());
        }
    }
    choices
}

proptest::proptest! {
    /// Whatever an upstream sends, nothing above the hold is charged, little more is delivered, what is delivered is the
    /// beginning of what was sent, and a cut answer ends once for each choice.
    #[test]
    fn no_stream_is_charged_above_its_hold(
        chunks in proptest::collection::vec((0..3_u64, "[a-z \n\"今ü]{0,20}", 0..12_u64, 0..60_u64), 0..60),
        completion in 1..40_u64,
    ) {
        let stream: String = chunks.iter().map(|(index, text, end, usage)| {
            let content = serde_json::to_string(text).unwrap();
            let reason = if *end == 0 { "\"stop\"" } else { "null" };
            let usage = if *usage < 2 { format!(",\"usage\":{{\"prompt_tokens\":{usage},\"completion_tokens\":{usage}}}") } else { String::new() };
            format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":{content}}},\"finish_reason\":{reason}}}]{usage}}}\n\n")
        }).collect();
        let (mut sent, end, relay) = run_held(true, 3, completion, &stream);
        let cut = match &end {
            Some(Step::Cut(bytes)) => {
                sent.push_str(std::str::from_utf8(bytes).unwrap());
                true
            }
            other => {
                proptest::prop_assert!(other.is_none(), "{other:?}");
                false
            }
        };
        let came = assembled(&stream);
        let mut delivered = 0;
        for (index, (text, ends)) in assembled(&sent) {
            let whole = came.get(&index).map(|(text, _)| text.as_str()).unwrap_or_default();
            proptest::prop_assert!(whole.starts_with(&text), "{text:?} of {whole:?}");
            proptest::prop_assert!(!cut || ends > 0, "choice {index} has no end");
            delivered += crate::tokens::count(&text);
        }
        proptest::prop_assert!(delivered <= with_tolerance(completion) + 3, "{delivered} for {completion}");
        let held = TokenCounts { prompt: 50, completion, ..TokenCounts::default() };
        for ending in [relay.completed(5), relay.cut(5), relay.client_gone(5), relay.upstream_failed()] {
            proptest::prop_assert_eq!(ending.tokens, ending.tokens.within(&held));
        }
    }
}
