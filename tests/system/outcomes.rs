//! The outcome policy: for everything that an upstream may do, whole and streamed, what the client sees and what is charged.
//!
//! What happens is compared with the table in `docs/OUTCOMES.md`, which publishes it. `MODELHUB_TEST_WRITE_OUTCOMES=1`
//! writes the table anew; read the difference before committing it.

mod faults;

use std::path::Path;
use std::time::Duration;

use http::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::client::{Answer, Client};
use crate::system::{System, decimal};
use crate::upstream::{Script, Upstream};
use faults::{Fault, faults};

const BEGIN: &str = "<!-- The table; tests/system/outcomes.rs checks it. -->\n";
/// When a client leaves that leaves. Upstreams may take twice that.
const LEAVES_AFTER: Duration = Duration::from_millis(1_500);
/// Output tokens of a choice that each request asks for.
const MAX_TOKENS: u64 = 10;

/// What the first and the second upstream do.
type Scripts = [Option<Script>; 2];

/// A system, its two upstreams and an account.
struct Bench {
    system: System,
    first: Upstream,
    second: Upstream,
    account: String,
    client: Client,
}

impl Bench {
    /// `m` has one upstream, `f` a fallback, and nothing listens where `dead` should answer. 1 USD per million prompt tokens,
    /// 2 per million others.
    async fn start() -> Self {
        let ((first, first_url), (second, second_url)) = (Upstream::start().await, Upstream::start().await);
        let dead = format!("http://127.0.0.1:{}/v1", tests::port());
        let upstream = |name: &str, url: &str| {
            format!(
                "[[upstreams]]\nname = \"{name}\"\nbase_url = \"{url}\"\nfirst_token_timeout_ms = 3000\n\
                 idle_timeout_ms = 3000\ncontent_timeout_ms = 3500\n"
            )
        };
        let model = |id: &str, upstream: &str, more: &str| {
            format!(
                "[[models]]\nid = \"{id}\"\nupstream = \"{upstream}\"\nupstream_model = \"um\"\n{more}\n\
                 context_tokens = 1000000\nmax_output_tokens = 1000\n\
                 price = {{ input = \"1\", cached_input = \"0.1\", output = \"2\" }}\n"
            )
        };
        let configuration = [
            upstream("first", &first_url),
            upstream("second", &second_url),
            upstream("dead", &dead),
            model("m", "first", ""),
            model("f", "first", "fallbacks = [{ upstream = \"second\", upstream_model = \"um\" }]"),
            model("dead", "dead", ""),
        ];
        let system = System::embedded_with(&configuration.concat()).await;
        let (account, client) = system.open_account("owner@example.com").await;
        Self { system, first, second, account, client }
    }

    /// The usage events so far, in the order of the log.
    async fn events(&self) -> Vec<Value> {
        let exported = self.system.run(&["export", "--account", &self.account]).await;
        assert_eq!(exported.code, 0, "{exported:?}");
        let events = exported.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        events.map(|line| line["event"]["data"].clone()).filter(|data| data["outcome"].is_string()).collect()
    }

    /// What happens in one case, as a row of the table.
    async fn row(&self, fault: &Fault, stream: bool, count: usize) -> String {
        let [first, second] = fault.scripts(stream);
        first.into_iter().for_each(|script| self.first.next(script));
        second.into_iter().for_each(|script| self.second.next(script));
        let mut request = json!({
            "model": fault.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": MAX_TOKENS, "n": fault.n,
            "stream": stream,
        });
        if stream {
            request["stream_options"] = json!({"include_usage": true});
        }
        let request = request.to_string();
        let (what, how) = (fault.what, if stream { "streamed" } else { "whole" });
        let asked = self.client.send(Method::POST, "/v1/chat/completions", request.clone());
        let answer = if fault.leaves { timeout(LEAVES_AFTER, asked).await.ok() } else { Some(asked.await) };
        assert_eq!(answer.is_none(), fault.leaves, "{what}, {how}: {answer:?}");
        let event = self.event(count).await;

        // Nothing is charged beyond the hold, what is charged is what it costs, and the client is told the same.
        let tokens = |name: &str| event["tokens"][name].as_u64().expect("a count");
        let (prompt, completion) = (tokens("prompt"), tokens("completion"));
        assert!(completion <= MAX_TOKENS * fault.n, "{what}, {how}: {event}");
        assert!(prompt <= request.len() as u64, "{what}, {how}: {event}");
        let cost = Decimal::new(i64::try_from(prompt + 2 * completion).expect("few"), 6);
        assert_eq!(decimal(&event["cost_usd"]), cost, "{what}, {how}: {event}");
        if let Some(answer) = &answer
            && answer.body.contains("\"cost_usd\"")
        {
            let told = answer.charge();
            assert_eq!((told.prompt, told.completion, told.cost), (prompt, completion, cost), "{what}, {how}");
        }
        // No upstream goes on working for nobody.
        self.first.is_left_alone().await;
        self.second.is_left_alone().await;

        let charged = match (prompt, completion) {
            (0, 0) => "nothing".to_owned(),
            (0, completion) => format!("{completion} output"),
            (prompt, completion) => format!("{prompt} prompt, {completion} output"),
        };
        let (outcome, accuracy) = (text(&event["outcome"]), text(&event["accuracy"]));
        let accuracy = if charged == "nothing" { "–" } else { accuracy };
        let seen = answer.as_ref().map_or("– (it has gone away)".to_owned(), seen);
        let by = if fault.model == "f" { format!(" ({})", text(&event["upstream"])) } else { String::new() };
        format!("| {what}{by} | {how} | {seen} | `{outcome}` | {charged} | {accuracy} |\n")
    }

    /// The last of `count` usage events, once they are all there.
    async fn event(&self, count: usize) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let mut events = self.events().await;
            assert!(events.len() <= count, "{} events, not {count}", events.len());
            if events.len() == count {
                return events.pop().expect("an event");
            }
            assert!(Instant::now() < deadline, "only {} events of {count}", events.len());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// What a client sees of an answer.
fn seen(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    if status != 200 {
        return format!("{status} `{}`", text(&answer.json()["error"]["code"]));
    }
    if !answer.body.starts_with("data: ") {
        let answer = answer.json();
        let choices: Vec<_> =
            answer["choices"].as_array().expect("choices").iter().map(|c| choice(c, "message")).collect();
        return format!("200: {}", choices.join(", "));
    }
    let mut seen = Vec::new();
    for event in answer.body.split_terminator("\n\n").filter(|event| !event.starts_with(':')) {
        let data = event.strip_prefix("data: ").expect("data");
        if data == "[DONE]" {
            seen.push("`[DONE]`".to_owned());
            continue;
        }
        let chunk: Value = serde_json::from_str(data).expect("JSON");
        if chunk["error"].is_object() {
            seen.push(format!("error event `{}`", text(&chunk["error"]["code"])));
            continue;
        }
        let choices = chunk["choices"].as_array().expect("choices");
        if choices.is_empty() {
            seen.push("usage".to_owned());
        }
        seen.extend(choices.iter().map(|c| choice(c, "delta")).filter(|choice| choice != "role"));
    }
    format!("200: {}", seen.join(", "))
}

/// What one choice says: how many words of what, and why it ended.
fn choice(choice: &Value, message: &str) -> String {
    let message = &choice[message];
    let words = |value: &Value| value.as_str().map(|text| text.split_whitespace().count()).filter(|words| *words > 0);
    let mut says = Vec::new();
    let arguments = &message["tool_calls"][0]["function"]["arguments"];
    for (name, value) in
        [("reasoning", &message["reasoning_content"]), ("text", &message["content"]), ("tool call", arguments)]
    {
        says.extend(words(value).map(|words| format!("{name} ({words})")));
    }
    says.extend(choice["finish_reason"].as_str().map(|reason| format!("`{reason}`")));
    if says.is_empty() { "role".to_owned() } else { says.join(" ") }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_an_upstream_may_do_has_its_published_outcome() {
    let bench = Bench::start().await;
    let mut table = "| The upstream | Asked | The client sees | Outcome | Charged, in tokens | Count |\n|---|---|---|---|---|---|\n"
        .to_owned();
    let mut count = 0;
    for fault in faults() {
        for stream in [false, true] {
            count += 1;
            table.push_str(&bench.row(&fault, stream, count).await);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OUTCOMES.md");
    let document = std::fs::read_to_string(&path).expect("the document");
    let (prose, published) = document.split_once(BEGIN).expect("the table's place");
    if std::env::var_os("MODELHUB_TEST_WRITE_OUTCOMES").is_some() {
        std::fs::write(&path, format!("{prose}{BEGIN}{table}")).expect("the document");
        return;
    }
    let differs = table.lines().zip(published.lines()).find(|(is, said)| is != said);
    assert_eq!(differs, None, "left is what happens, right is what docs/OUTCOMES.md says");
    assert_eq!(table.lines().count(), published.lines().count(), "docs/OUTCOMES.md has other cases than this test");
}

/// The money of all cases, in the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_ignores_the_limit_costs_no_more_than_was_held() {
    let bench = Bench::start().await;
    let endless = faults().into_iter().filter(|fault| fault.what.contains("ignores"));
    let mut count = 0;
    let mut spent = Decimal::ZERO;
    for fault in endless {
        for stream in [false, true] {
            count += 1;
            bench.row(&fault, stream, count).await;
            let event = bench.event(count).await;
            assert_eq!(event["outcome"], "cut", "{}: {event}", fault.what);
            spent += decimal(&event["cost_usd"]);
        }
    }
    assert!(count >= 10, "{count}");
    bench.system.balance_becomes(&bench.account, Decimal::from(5) - spent).await;
}
