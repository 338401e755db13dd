//! What is asked, and what is answered: the same for every proxy.

use std::time::Duration;

/// What clients call the model.
pub(super) const MODEL: &str = "bench";
/// What the upstream calls it.
pub(super) const UPSTREAM_MODEL: &str = "bench-upstream";
/// Tokens that the upstream says it has counted.
pub(super) const PROMPT_TOKENS: u64 = 120;
pub(super) const COMPLETION_TOKENS: u64 = 100;
/// Chunks of output in a stream.
pub(super) const CHUNKS: u64 = 100;
/// USD for 1,000,000 tokens.
pub(super) const PRICES: [(&str, &str); 3] = [("input", "0.20"), ("cached_input", "0.02"), ("output", "0.30")];
/// What a request costs at those prices, in 10⁻¹² USD.
pub(super) const COST_PICO: i64 = 120 * 200_000 + 100 * 300_000;

const PROMPT: &str = "You are a careful assistant of a support desk. Read the customer's message below and answer it in at most \
    three short paragraphs. Say what was understood, what will be done and until when. Do not promise what is not in the list \
    of services. Message: my last invoice shows a charge for a plan that was cancelled in the month before, and the usage page \
    does not show any request after that day. Please explain the charge and tell me whether it will be given back.";
const TEXT: &str = "Thank you for writing. The charge on the last invoice is for the period that had begun before the plan \
    was cancelled, and it covers the days up to its end. No request was counted after that day, as the usage page shows. The \
    rest of the period is given back as credit by the end of this week.";

/// What a request says that is to be answered after [`SLOW`].
const SLOWLY: &str = r#","user":"slowly""#;
/// How long an answer takes where its request says so: less than models do.
pub(super) const SLOW: Duration = Duration::from_millis(100);

/// A request, whole, to `address`; with this key where there is one.
pub(super) fn request(address: &str, key: Option<&str>, stream: bool, slowly: bool) -> Vec<u8> {
    let slowly = if slowly { SLOWLY } else { "" };
    let stream = if stream { r#","stream":true,"stream_options":{"include_usage":true}"# } else { "" };
    let body = format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"system","content":"{PROMPT}"}},{{"role":"user","content":"Go on."}}],"max_tokens":200{slowly}{stream}}}"#
    );
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\n{key}content-type: application/json\r\n\
         user-agent: bench\r\naccept: */*\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Whether a request asks for a stream.
pub(super) fn is_stream(body: &[u8]) -> bool {
    [br#""stream":true"#.as_slice(), br#""stream": true"#].iter().any(|text| contains(body, text))
}

/// Whether a request is to be answered after [`SLOW`].
pub(super) fn is_slow(body: &[u8]) -> bool {
    contains(body, SLOWLY.as_bytes())
}

/// Whether `text` stands in `body`.
pub(super) fn contains(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}

/// The upstream's whole answer.
pub(super) fn whole() -> Vec<u8> {
    let body = format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"{UPSTREAM_MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{TEXT}"}},"logprobs":null,"finish_reason":"stop"}}],{}}}"#,
        usage()
    );
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn usage() -> String {
    let total = PROMPT_TOKENS + COMPLETION_TOKENS;
    format!(
        r#""usage":{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{COMPLETION_TOKENS},"total_tokens":{total}}}"#
    )
}

/// The head of a streamed answer.
pub(super) fn stream_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()
}

/// One chunk of output, as one piece of the transfer.
pub(super) fn chunk() -> Vec<u8> {
    piece(&format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"{UPSTREAM_MODEL}","choices":[{{"index":0,"delta":{{"content":" charge"}},"logprobs":null,"finish_reason":null}}]}}"#
    ))
}

/// What follows the output: its end, the usage, and the end of the transfer.
pub(super) fn stream_end() -> Vec<u8> {
    let mut bytes = piece(&format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"{UPSTREAM_MODEL}","choices":[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}]}}"#
    ));
    bytes.extend(piece(&format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"{UPSTREAM_MODEL}","choices":[],{}}}"#,
        usage()
    )));
    bytes.extend(piece("[DONE]"));
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn piece(data: &str) -> Vec<u8> {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}
