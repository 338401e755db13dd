//! What is refused, what is changed, and that nothing else is.

use schemas::usage::Price;

use proptest::prelude::*;
use schemas::TokenCounts;
use schemas::api::Funds;

use super::*;

fn model() -> Model {
    let price = |text: &str| text.parse().unwrap();
    Model {
        id: "m".into(),
        upstream: "u".into(),
        upstream_model: Some("um".into()),
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
        let worst = request.worst_case(&model(), funds(available, 0)).unwrap();
        assert_eq!(request.upstream_body(&model(), &worst).unwrap(), expected.as_bytes());
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

fn funds(usd: &str, plan_tokens: u64) -> Funds {
    Funds { usd: usd.parse().unwrap(), plan_tokens }
}

#[test]
fn the_worst_case_is_prompt_bound_plus_all_choices() {
    let check = |body: &str, available: Funds, expected: Option<(u64, bool, Funds)>| {
        let request = parse(body).unwrap();
        let expected =
            expected.map(|(output_tokens, clamped, hold)| WorstCase { output_tokens, clamped, full: !clamped, hold });
        assert_eq!(request.worst_case(&model(), available), expected, "{body} with {available:?}");
        if let Some(WorstCase { full: true, hold, .. }) = expected {
            let plan_tokens = available.plan_tokens;
            assert_eq!(request.wanted(&model(), plan_tokens), hold, "{body} with {available:?}");
        }
    };
    let money = |available: &str, body: &str, expected: Option<(u64, bool, &str)>| {
        let expected = expected.map(|(output, clamped, hold)| (output, clamped, funds(hold, 0)));
        check(body, funds(available, 0), expected);
    };
    let bare = r#"{"model":"m","messages":[{}]}"#;
    money("5", bare, Some((100, false, "0.000229")));
    money("0.000229", bare, Some((100, false, "0.000229")));
    money("0.000228999999", bare, Some((99, true, "0.000227")));
    money("0.000031", bare, Some((1, true, "0.000031")));
    money("0.000030999999", bare, None);
    money("0", bare, None);
    money("-1", bare, None);
    let three = r#"{"model":"m","messages":[{}],"n":3}"#;
    money("5", three, Some((100, false, "0.000635")));
    money("0.000041", three, Some((1, true, "0.000041")));
    money("0.00004", three, None);
    let long = format!(r#"{{"model":"m","messages":["{}"],"max_tokens":1}}"#, "x".repeat(5_000));
    money("5", &long, Some((1, false, "0.001002")));
    // 29 bytes of prompt and 100 tokens of output. Plan tokens go first; money pays for the rest, or the output is less.
    check(bare, funds("0", 129), Some((100, false, funds("0", 129))));
    check(bare, funds("5", 1_000), Some((100, false, funds("0", 129))));
    check(bare, funds("0", 128), Some((99, true, funds("0", 128))));
    check(bare, funds("0.000002", 128), Some((100, false, funds("0.000002", 128))));
    check(bare, funds("0", 30), Some((1, true, funds("0", 30))));
    check(bare, funds("0", 29), None);
    check(bare, funds("0.000001", 29), None);
    check(bare, funds("0.000002", 29), Some((1, true, funds("0.000002", 29))));
    check(bare, funds("0.000003", 28), Some((1, true, funds("0.000003", 28))));
    check(bare, funds("0.000002", 28), None);
    check(three, funds("0", 335), Some((100, false, funds("0", 335))));
    check(three, funds("0", 334), Some((99, true, funds("0", 332))));
}

proptest! {
    /// Whatever the upstream counts up to what was held for, the hold pays for it.
    #[test]
    fn the_hold_pays_for_whatever_comes(
        pico in 0_i64..400_000_000, plan_tokens in 0_u64..200, prompt in 0_u64..=29, cached in 0_u64..=29,
        completion in 0_u64..=300, choices in 1_u64..4,
    ) {
        let body = format!(r#"{{"model":"m","messages":[{{}}],"n":{choices}}}"#);
        let available = Funds { usd: schemas::Usd::from_pico(pico), plan_tokens };
        let model = model();
        if let Some(worst) = parse(&body).unwrap().worst_case(&model, available) {
            prop_assert!(available.covers(worst.hold));
            let tokens = TokenCounts {
                prompt,
                cached_prompt: cached.min(prompt),
                completion: completion.min(worst.output_tokens * choices),
                reasoning: 0,
            };
            let covered = worst.hold.plan_tokens.min(tokens.total());
            let usd = accounting::rating::overage(&tokens, &model.price, covered).unwrap();
            prop_assert!(worst.hold.usd >= usd, "{:?} pays for {:?}, not {}", worst, tokens, usd);
        }
    }
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
fn an_estimated_prompt_is_never_above_the_hold() {
    let check = |content: &str, expected: u64| {
        let body = format!(r#"{{"model":"m","messages":[{{"content":"{content}"}}]}}"#);
        let request = parse(&body).unwrap();
        assert_eq!(request.prompt_tokens_estimate(&model()), expected, "{} bytes", body.len());
        assert!(expected <= request.prompt_tokens_bound(&model()));
    };
    check("", 11);
    check(&"x".repeat(960), 251);
    check(&"x".repeat(1_000_000), 1_000);
}
