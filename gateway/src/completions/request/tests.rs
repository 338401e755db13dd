//! What is refused, what is changed, and that nothing else is.

use schemas::usage::Price;

use super::*;

fn model() -> Model {
    let price = |text: &str| text.parse().unwrap();
    Model {
        id: "m".into(),
        upstream: "u".into(),
        upstream_model: Some("um".into()),
        fallbacks: Vec::new(),
        context_tokens: 1_000,
        max_output_tokens: 100,
        price: Price { input: price("1"), cached_input: price("0.1"), output: price("2") },
    }
}

fn parse(body: &str) -> Result<CompletionRequest, ApiError> {
    CompletionRequest::parse(Bytes::from(body.to_owned()))
}

#[test]
fn bad_requests_name_the_field() {
    let check = |body: &str, param: Option<&str>, message: &str| {
        let error = parse(body).unwrap_err();
        assert_eq!((error.status.as_u16(), error.code, error.param), (400, "invalid_request", param), "{body}");
        assert!(error.message.starts_with(message), "{}", error.message);
    };
    check("", None, "The body is not a JSON object");
    check("[]", None, "The body is not a JSON object");
    check("\"x\"", None, "The body is not a JSON object");
    check("{}", Some("model"), "`model` is missing");
    check(r#"{"model":null,"messages":[{}]}"#, Some("model"), "`model` is missing");
    check(r#"{"model":5,"messages":[{}]}"#, Some("model"), "`model` is 5; it must be a string.");
    check(r#"{"model":"m"}"#, Some("messages"), "`messages` is missing");
    check(r#"{"model":"m","messages":"hi"}"#, Some("messages"), "`messages` is \"hi\"; it must be an array.");
    check(r#"{"model":"m","messages":[]}"#, Some("messages"), "`messages` is empty");
    check(r#"{"model":"m","model":"x","messages":[{}]}"#, None, "The body is not a JSON object: duplicate field");
    check(r#"{"model":"m","messages":[{}],"stream":1}"#, Some("stream"), "`stream` is 1");
    check(r#"{"model":"m","messages":[{}],"max_tokens":0}"#, Some("max_tokens"), "`max_tokens` is 0");
    check(r#"{"model":"m","messages":[{}],"max_tokens":-1}"#, Some("max_tokens"), "`max_tokens` is -1");
    check(r#"{"model":"m","messages":[{}],"max_tokens":1.5}"#, Some("max_tokens"), "`max_tokens` is 1.5");
    check(r#"{"model":"m","messages":[{}],"max_completion_tokens":"9"}"#, Some("max_completion_tokens"), "`max_c");
    check(r#"{"model":"m","messages":[{}],"n":129}"#, Some("n"), "`n` is 129");
    check(r#"{"model":"m","messages":[{}],"stream":true,"stream_options":7}"#, Some("stream_options"), "`stream_o");
    check(r#"{"model":"m","messages":[{}],"stream":true,"stream_options":[]}"#, Some("stream_options"), "`stream_o");
}

#[test]
fn bytes_that_are_no_text_are_the_client_s_fault_wherever_they_stand() {
    let check = |body: &[u8]| {
        let error = CompletionRequest::parse(Bytes::copy_from_slice(body)).unwrap_err();
        assert_eq!((error.status.as_u16(), error.code), (400, "invalid_request"), "{}", error.message);
    };
    check(b"{\"model\":\"m\",\"messages\":[{\"content\":\"\xff\"}]}");
    check(b"{\"model\":\"m\",\"messages\":[{}],\"user\":\"\xff\"}");
    check(b"{\"model\":\"m\",\"messages\":[{}],\"us\xffer\":1}");
}

#[test]
fn the_upstream_gets_the_client_s_bytes_but_for_the_values_we_own() {
    let check = |body: &str, available: &str, expected: &str| {
        let request = parse(body).unwrap();
        let prompt = request.prompt_tokens_bound(&model());
        let worst = request.worst_case(&model(), prompt, available.parse().unwrap()).unwrap();
        assert_eq!(request.upstream_body("um", &worst).unwrap(), expected.as_bytes());
    };
    check(
        r#"{"tools":[{"x":1.0}], "model" : "m","messages":[{"content":"ü\u00fc"}],"temperature":1e0}"#,
        "5",
        r#"{"tools":[{"x":1.0}], "model" : "um","messages":[{"content":"ü\u00fc"}],"temperature":1e0}"#,
    );
    check(
        r#"{"model":"m","messages":[{}],"stream":true}"#,
        "5",
        r#"{"stream_options":{"include_usage":true},"model":"um","messages":[{}],"stream":true}"#,
    );
    check(
        r#"{"model":"m","messages":[{}],"stream":true,"stream_options":null}"#,
        "5",
        r#"{"model":"um","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    check(
        r#"{"model":"m","messages":[{}],"stream":true,"stream_options":{"x":1}}"#,
        "5",
        r#"{"model":"um","messages":[{}],"stream":true,"stream_options":{"x":1,"include_usage":true}}"#,
    );
    check(
        r#"{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":false}}"#,
        "5",
        r#"{"model":"um","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    check(
        r#"{"model":"m","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
        "5",
        r#"{"model":"um","messages":[{}],"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    // 29 bytes of prompt at most, $0.000029; what is left pays for 8 tokens of output.
    check(r#"{"model":"m","messages":[{}]}"#, "0.000046", r#"{"max_tokens":8,"model":"um","messages":[{}]}"#);
    check(
        r#"{"model":"m","messages":[{}],"max_tokens":9}"#,
        "0.00006",
        r#"{"model":"um","messages":[{}],"max_tokens":8}"#,
    );
    check(
        r#"{"model":"m","messages":[{}],"max_tokens":8}"#,
        "0.00006",
        r#"{"model":"um","messages":[{}],"max_tokens":8}"#,
    );
    check(
        r#"{"model":"m","messages":[{}],"max_completion_tokens":5000}"#,
        "5",
        r#"{"model":"um","messages":[{}],"max_completion_tokens":100}"#,
    );
}

#[test]
fn the_worst_case_is_prompt_bound_plus_all_choices() {
    let check = |body: &str, available: &str, expected: Option<(u64, bool, &str)>| {
        let request = parse(body).unwrap();
        let worst = request.worst_case(&model(), request.prompt_tokens_bound(&model()), available.parse().unwrap());
        let found = worst.map(|worst| (worst.output_tokens, worst.clamped, worst.cost.to_string()));
        let expected = expected.map(|(output_tokens, clamped, cost)| (output_tokens, clamped, cost.to_owned()));
        assert_eq!(found, expected, "{body} with {available}");
        if let Some(worst) = worst {
            assert_eq!(accounting::rating::cost(&worst.tokens, &model().price), Some(worst.cost), "{body}");
        }
    };
    let bare = r#"{"model":"m","messages":[{}]}"#;
    check(bare, "5", Some((100, false, "0.000229")));
    check(bare, "0.000229", Some((100, false, "0.000229")));
    check(bare, "0.000228999999", Some((99, true, "0.000227")));
    check(bare, "0.000031", Some((1, true, "0.000031")));
    check(bare, "0.000030999999", None);
    check(bare, "0", None);
    check(bare, "-1", None);
    let three = r#"{"model":"m","messages":[{}],"n":3}"#;
    check(three, "5", Some((100, false, "0.000635")));
    check(three, "0.000041", Some((1, true, "0.000041")));
    check(three, "0.00004", None);
    let long = format!(r#"{{"model":"m","messages":["{}"],"max_tokens":1}}"#, "x".repeat(5_000));
    check(&long, "5", Some((1, false, "0.001002")));
}

#[test]
fn a_prompt_is_bounded_by_its_bytes_only_where_all_of_it_is_text() {
    let check = |messages: &str, whole_context: bool| {
        let body = format!(r#"{{"model":"m","messages":[{messages}]}}"#);
        let expected = if whole_context { 1_000 } else { body.len() as u64 };
        assert_eq!(parse(&body).unwrap().prompt_tokens_bound(&model()), expected, "{messages}");
    };
    check(r#"{"content":"hi"}"#, false);
    check(r#"{"content":null,"tool_calls":[{"id":"1"}]}"#, false);
    check(r#"{"content":[]}"#, false);
    check(r#"{"content":[{"type":"text","text":"hi"},{"type":"refusal","refusal":"no"}]}"#, false);
    // An address of some bytes is an image of some thousand tokens.
    check(r#"{"content":[{"type":"image_url","image_url":{"url":"https://a.b/c.png"}}]}"#, true);
    check(r#"{"content":"hi"},{"content":[{"type":"text","text":"hi"},{"type":"file","file":{"file_id":"f"}}]}"#, true);
    check(r#"{"content":[{"\u0074ype":"input_\u0061udio"}]}"#, true);
    // What two readers could read in two ways counts as the larger one.
    check(r#"{"content":[{"type":"text","type":"image_url"}]}"#, true);
    check(r#"{"content":"hi","content":[{"type":"image_url"}]}"#, true);
    check(r#"{"content":[{}]}"#, true);
    check(r#"{"content":{"type":"image_url"}}"#, true);
    check(r#"{"role":"assistant","audio":{"id":"a"}}"#, true);
    check("7", true);
}

#[test]
fn a_counted_prompt_is_never_above_the_hold() {
    let check = |content: &str, most: u64, expected: u64| {
        let body = format!(r#"{{"model":"m","messages":[{{"content":"{content}"}}]}}"#);
        assert_eq!(parse(&body).unwrap().prompt_tokens_counted(most), expected, "{content}");
    };
    check("", 100, 4);
    check("hello", 100, 5);
    check("hello", 3, 3);
    check(&"hello ".repeat(1_000), 1_000, 1_000);
}

/// Near the end of a balance a prompt is counted, not measured by its bytes.
#[test]
fn a_counted_bound_is_for_those_who_can_pay_for_it() {
    let check = |message: &str, available: &str, expected: Option<u64>| {
        let body = format!(r#"{{"model":"m","messages":[{message}]}}"#);
        let bound = parse(&body).unwrap().prompt_tokens_counted_bound(&model(), available.parse().unwrap());
        assert_eq!(bound, expected, "{body} with {available}");
    };
    let hello = format!(r#"{{"content":"{}"}}"#, "hello ".repeat(60).trim_end());
    // 64 tokens; a third and eight more for other tokenizers.
    check(&hello, "0.000064", Some(93));
    check(&hello, "0.000063", None);
    check(&hello, "0", None);
    check(&hello, "-1", None);
    // Bytes are the better bound of a short prompt, and nothing bounds an image.
    check(r#"{"content":"hi"}"#, "1", Some(14));
    check(r#"{"content":[{"type":"image_url"}]}"#, "1", None);
}
