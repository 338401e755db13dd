//! The port as a client sees it.

use std::sync::Arc;
use std::time::Duration;

use accounting::api_key;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use schemas::AccountId;
use schemas::config::Secret;
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use super::router;
use crate::rig::{PEPPER, Rig};

const SECRET: &str = "shared secret";

struct Client(Router);

impl Client {
    async fn send(&self, method: Method, uri: &str, secret: Option<&str>, body: &str) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        if let Some(secret) = secret {
            request = request.header("authorization", secret);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.0.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
    }

    async fn get(&self, uri: &str) -> (u16, Value) {
        let (status, body) = self.send(Method::GET, uri, Some(&format!("Bearer {SECRET}")), "").await;
        (status.as_u16(), body)
    }

    async fn post(&self, uri: &str, body: &Value) -> (u16, Value) {
        let secret = format!("Bearer {SECRET}");
        let (status, body) = self.send(Method::POST, uri, Some(&secret), &body.to_string()).await;
        (status.as_u16(), body)
    }
}

async fn rig() -> (Rig, Client) {
    let rig = Rig::new().await;
    let client = Client(router(Arc::clone(&rig.ledger), Secret::new(SECRET.into())));
    (rig, client)
}

#[tokio::test]
async fn commands_and_questions_end_to_end() {
    let (_rig, client) = rig().await;
    let command = json!({"email": "ann@example.com", "plan": "free"});
    let (status, opened) = client.post("/internal/v1/accounts", &command).await;
    assert_eq!(status, 200, "{opened}");
    let id = opened["account_id"].as_str().unwrap().to_owned();
    let account = format!("/internal/v1/accounts/{id}");
    assert_eq!(
        client.post("/internal/v1/accounts", &command).await,
        (409, json!({"code": "email_taken", "account_id": id}))
    );

    let (status, view) = client.get(&account).await;
    assert_eq!((status, &view["balance_usd"], &view["plan"]["id"]), (200, &json!("5"), &json!("free")));
    let secret = opened["key"]["secret"].as_str().unwrap();
    let hash = api_key::hash(PEPPER.as_bytes(), secret);
    let (status, key) = client.get(&format!("/internal/v1/keys/{hash}")).await;
    assert_eq!((status, &key["key_id"], &key["account"]), (200, &opened["key"]["key_id"], &view));

    let grant = json!({"account_id": id, "amount_usd": "0.000000000001", "reason": "r"});
    let (status, granted) = client.post(&format!("{account}/grants"), &grant).await;
    assert_eq!((status, &granted["balance_usd"]), (200, &json!("5.000000000001")));
    let (status, balance) = client.get(&format!("{account}/balance")).await;
    assert_eq!((status, &balance["lots"][1]["lot_id"]), (200, &granted["lot_id"]));

    let issue = json!({"account_id": id, "name": "laptop"});
    let (status, issued) = client.post(&format!("{account}/keys"), &issue).await;
    assert_eq!((status, issued["secret"].as_str().map(api_key::is_well_formed)), (200, Some(true)));
    let limit = (422, json!({"code": "key_limit", "limit": 2}));
    assert_eq!(client.post(&format!("{account}/keys"), &issue).await, limit);

    let (status, statement) = client.get(&format!("{account}/statement")).await;
    let shown = (&statement["opening_usd"], &statement["closing_usd"], statement["entries"].as_array().map(Vec::len));
    assert_eq!((status, shown), (200, (&json!("0"), &json!("5.000000000001"), Some(2))));
    let (_, page) = client.get(&format!("{account}/statement?limit=1")).await;
    let (_, next) = client.get(&format!("{account}/statement?limit=1&after={}", page["next"])).await;
    assert_eq!((&next["entries"][0], &next["next"]), (&statement["entries"][1], &Value::Null));
    // Everything happens at one time here.
    let at = "2027-01-15T08:00:00Z";
    for (query, entries) in [(format!("from={at}"), 2), (format!("to={at}"), 0), (format!("from={at}&to={at}"), 0)] {
        let (_, range) = client.get(&format!("{account}/statement?{query}")).await;
        assert_eq!(range["entries"].as_array().map(Vec::len), Some(entries), "{query}: {range}");
    }
}

#[tokio::test]
async fn invoices_are_issued_listed_and_shown() {
    let (_rig, client) = rig().await;
    let (status, opened) = client.post("/internal/v1/accounts", &json!({"email": "a@b.co", "plan": "free"})).await;
    assert_eq!(status, 200, "{opened}");
    let invoices = "/internal/v1/invoices";
    assert_eq!(client.post(invoices, &json!({"through": "2026-12"})).await, (200, json!({"issued": 0})));
    let id = opened["account_id"].as_str().unwrap();
    for query in [String::new(), format!("?account_id={id}&after=3&limit=1000")] {
        assert_eq!(client.get(&format!("{invoices}{query}")).await, (200, json!({"invoices": []})), "{query}");
    }
    let unknown = (404, json!({"code": "unknown_invoice", "number": 1}));
    assert_eq!(client.get(&format!("{invoices}/1")).await, unknown);
    assert_eq!(client.get(&format!("{invoices}/1?account_id={id}")).await, unknown);
}

#[tokio::test]
async fn changes_of_an_account_are_one_message_each() {
    let (_rig, client) = rig().await;
    let (_, opened) = client.post("/internal/v1/accounts", &json!({"email": "ann@example.com", "plan": "free"})).await;
    let id = opened["account_id"].as_str().unwrap().to_owned();
    let account = format!("/internal/v1/accounts/{id}");
    let commands = format!("{account}/commands");
    let stripe = json!({"processor": "stripe", "id": "p1"});
    let pay = json!({"record_payment": {"payment": stripe, "amount_usd": "20", "fee_usd": "0.5"}});
    let (status, paid) = client.post(&commands, &pay).await;
    assert_eq!((status, &paid["amount_usd"], &paid["balance_usd"]), (200, &json!("20"), &json!("25")), "{paid}");
    assert_eq!(client.post(&commands, &pay).await, (200, paid));
    let dear = json!({"subscribe": {"plan": "launch"}});
    let low = json!({"code": "credit_too_low", "price_usd": "65", "credit_usd": "25"});
    assert_eq!(client.post(&commands, &dear).await, (402, low));
    let key = opened["key"]["key_id"].clone();
    let named = json!({"update_key": {"key_id": key, "name": "laptop"}});
    assert_eq!(client.post(&commands, &named).await.0, 200);
    let (status, keys) = client.get(&format!("{account}/keys")).await;
    assert_eq!((status, &keys[0]["key_id"], &keys[0]["name"]), (200, &key, &json!("laptop")), "{keys}");

    for (body, detail) in [
        (json!({"enrich": {}}), "unknown variant `enrich`"),
        (json!({"suspend": {}}), "missing field `reason`"),
        (json!({"suspend": {"reason": "r", "balance_usd": "9"}}), "unknown field `balance_usd`"),
        (json!({"record_payment": {"payment": stripe, "amount_usd": 20}}), "record_payment.amount_usd"),
    ] {
        let (status, refused) = client.post(&commands, &body).await;
        assert_eq!((status, &refused["field"]), (422, &json!("body")), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(detail), "{refused}");
    }
}

#[tokio::test]
async fn leases_are_opened_refused_and_closed() {
    let (rig, client) = rig().await;
    let (_, opened) = client.post("/internal/v1/accounts", &json!({"email": "ann@example.com", "plan": "free"})).await;
    let (leases, account) = ("/internal/v1/leases", &opened["account_id"]);
    let id = |n: u128| Uuid::from_u128(n).to_string();
    let funds = |usd: &str, plan_tokens: u64| json!({"usd": usd, "plan_tokens": plan_tokens});
    let message = |seq: u64, spent: &str, ceiling: &str, wish: &str| {
        json!({
            "account_id": account, "lease_id": id(1), "gateway_id": id(2), "run_id": id(3), "seq": seq,
            "spent": funds(spent, 0), "ceiling": funds(ceiling, 0), "need": funds(wish, 0), "wish": funds(wish, 0),
            "close": false,
        })
    };
    let (status, grant) = client.post(leases, &message(1, "0", "0", "1.25")).await;
    assert_eq!((status, &grant["granted"], &grant["tight"]), (200, &funds("1.25", 0), &json!(false)), "{grant}");
    assert_eq!((&grant["ttl_ms"], &grant["account"]["balance_usd"]), (&json!(10_000), &json!("5")));
    let stale = json!({"code": "stale_lease", "lease_id": id(1), "seq": 1, "last": 1});
    assert_eq!(client.post(leases, &message(1, "0", "0", "1.25")).await, (409, stale));
    let (status, invalid) = client.post(leases, &message(2, "1", "1.26", "0")).await;
    assert_eq!((status, &invalid["code"], &invalid["field"]), (422, &json!("invalid"), &json!("lease")), "{invalid}");
    let mut other = message(2, "1", "1", "0");
    other["lease_id"] = json!(id(9));
    let unknown = json!({"code": "unknown_lease", "lease_id": id(9), "account_id": account});
    assert_eq!(client.post(leases, &other).await, (404, unknown));
    other["account_id"] = json!(id(7));
    let unknown = json!({"code": "unknown_account", "account": id(7)});
    assert_eq!(client.post(leases, &other).await, (404, unknown));
    let mut odd = message(2, "0", "0", "0");
    odd["balance_usd"] = json!("9");
    assert_eq!(client.post(leases, &odd).await.0, 422);

    let close = |run: u128| json!({"gateway_id": id(2), "run_id": id(run)});
    let closed = format!("{leases}/close");
    assert_eq!(client.post(&closed, &close(3)).await, (200, json!({"leases": 0})), "its own run");
    rig.store.reset().await.unwrap();
    let (status, body) = client.post(leases, &message(2, "0", "1.25", "0")).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")), "{body}");
    assert_eq!(client.post(&closed, &close(4)).await, (200, json!({"leases": 1})));
}

#[tokio::test]
async fn a_projector_is_told_what_posted() {
    let (rig, client) = rig().await;
    let (_, opened) = client.post("/internal/v1/accounts", &json!({"email": "ann@example.com", "plan": "free"})).await;
    let (_, view) = client.get(&format!("/internal/v1/accounts/{}", opened["account_id"].as_str().unwrap())).await;
    let partition = view["version"]["partition"].as_u64().unwrap();
    let amounts = format!("/internal/v1/partitions/{partition}/amounts");
    let posted = |at: u64, amount: &str| json!({"offset": at, "amount_usd": amount});
    let all = json!([posted(0, "0"), posted(1, "5"), posted(2, "0")]);
    assert_eq!(client.get(&format!("{amounts}?from=0&to=3")).await, (200, all));
    assert_eq!(client.get(&format!("{amounts}?from=1&to=2")).await, (200, json!([posted(1, "5")])));
    let (status, body) = client.get(&format!("{amounts}?from=1&to=4")).await;
    assert_eq!((status, &body["code"]), (503, &json!("not_yet_applied")), "{body}");
    for range in ["from=3&to=3", "from=4&to=3", "from=0&to=10001", "from=0&to=0"] {
        let (status, body) = client.get(&format!("{amounts}?{range}")).await;
        assert_eq!((status, &body["field"]), (422, &json!("to")), "{range}: {body}");
    }
    let (status, body) = client.get("/internal/v1/partitions/x/amounts?from=0&to=1").await;
    assert_eq!((status, &body["detail"]), (422, &json!("`x` is not a partition's number")));
    drop(rig);
}

#[tokio::test]
async fn answers_are_claimed_held_ended_and_gone_within_a_day() {
    let (rig, client) = rig().await;
    let id = |n: u128| Uuid::from_u128(n).to_string();
    let claim = |holder: u128| json!({"answer_id": id(1), "account_id": id(2), "fingerprint": id(3), "holder": id(holder), "hold_ms": 1_000});
    let hold = |holder: u128| json!({"answer_id": id(1), "holder": id(holder), "hold_ms": 60_000});
    let end = |holder: u128, end: Value| json!({"answer_id": id(1), "holder": id(holder), "end": end});
    let (claims, holds, ends) = ("/internal/v1/answers/claim", "/internal/v1/answers/hold", "/internal/v1/answers/end");
    let yours = |n: u128| (200, json!({"answer": "yours", "request_id": id(n)}));
    let running = (200, json!({"answer": "running"}));
    assert_eq!(client.post(claims, &claim(4)).await, yours(4));
    assert_eq!(client.post(claims, &claim(5)).await, running);
    assert_eq!(client.post(holds, &hold(4)).await, (200, json!(true)));
    rig.clock.advance(Duration::from_secs(59));
    assert_eq!(client.post(claims, &claim(5)).await, running);
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(client.post(claims, &claim(5)).await, yours(4));
    assert_eq!(client.post(holds, &hold(4)).await, (200, json!(false)));
    assert_eq!(client.post(ends, &end(4, json!("too_large"))).await, (200, json!("lost")));
    assert_eq!(client.post(ends, &end(5, json!("unknown"))).await, (200, json!("done")));
    assert_eq!(client.post(claims, &claim(6)).await, yours(4));
    // Larger than any other message may be.
    let text = "A".repeat(4 << 20);
    assert_eq!(client.post(ends, &end(6, json!({"keep": text}))).await, (200, json!("done")));
    let mut other = claim(7);
    other["fingerprint"] = json!(id(9));
    assert_eq!(client.post(claims, &other).await, (200, json!({"answer": "other_body"})));
    let kept = json!({"answer": "kept", "request_id": id(4), "holder": id(6), "sealed": text});
    rig.clock.advance(Duration::from_hours(23));
    assert_eq!(rig.ledger.sweep_answers().await.unwrap(), 0);
    assert_eq!(client.post(claims, &claim(7)).await, (200, kept));
    rig.clock.advance(Duration::from_mins(30));
    assert_eq!(rig.ledger.sweep_answers().await.unwrap(), 1);
    assert_eq!(client.post(claims, &claim(7)).await, yours(7));
    assert_eq!(client.post(ends, &end(7, json!("free"))).await, (200, json!("done")));
    assert_eq!(client.post(claims, &claim(8)).await, yours(8));
    let (status, refused) = client.post(holds, &json!({"answer_id": id(1), "holder": id(8), "hold_ms": 0})).await;
    assert_eq!((status, &refused["field"]), (422, &json!("hold_ms")), "{refused}");
}

#[tokio::test]
async fn without_the_secret_nothing_is_answered() {
    let (rig, client) = rig().await;
    let id = AccountId(Uuid::nil());
    let check = async |secret: Option<&str>, expected: u16| {
        for (method, uri) in [
            (Method::GET, format!("/internal/v1/accounts/{id}")),
            (Method::GET, format!("/internal/v1/accounts/{id}/balance")),
            (Method::GET, format!("/internal/v1/accounts/{id}/statement")),
            (Method::GET, "/internal/v1/keys/x".into()),
            (Method::POST, "/internal/v1/accounts".into()),
            (Method::GET, "/internal/v1/invoices".into()),
            (Method::GET, "/internal/v1/invoices/1".into()),
            (Method::POST, "/internal/v1/invoices".into()),
            (Method::POST, format!("/internal/v1/accounts/{id}/keys")),
            (Method::POST, format!("/internal/v1/accounts/{id}/grants")),
            (Method::POST, format!("/internal/v1/accounts/{id}/commands")),
            (Method::GET, format!("/internal/v1/accounts/{id}/keys")),
            (Method::GET, "/internal/v1/partitions/0/amounts?from=0&to=1".into()),
            (Method::POST, "/internal/v1/leases".into()),
            (Method::POST, "/internal/v1/leases/close".into()),
            (Method::POST, "/internal/v1/answers/claim".into()),
            (Method::POST, "/internal/v1/answers/hold".into()),
            (Method::POST, "/internal/v1/answers/end".into()),
        ] {
            let (status, body) = client.send(method, &uri, secret, "{}").await;
            let refused = status == StatusCode::UNAUTHORIZED && body["code"] == "unauthorized";
            assert_eq!(refused, expected == 401, "{uri} {secret:?}: {status} {body}");
        }
    };
    check(None, 401).await;
    check(Some(""), 401).await;
    check(Some("Bearer "), 401).await;
    check(Some("Bearer shared secre"), 401).await;
    check(Some("Bearer shared secret "), 401).await;
    check(Some("Basic shared secret"), 401).await;
    check(Some("Bearer shared secret"), 0).await;
    assert_eq!(client.send(Method::GET, "/healthz", None, "").await, (StatusCode::OK, json!("ok")));
    assert_eq!(client.send(Method::GET, "/readyz", None, "").await, (StatusCode::OK, json!("ok")));

    let open = Client(router(Arc::clone(&rig.ledger), Secret::new(String::new())));
    let (status, _) = open.send(Method::GET, "/internal/v1/keys/x", Some("Bearer "), "").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "an empty secret lets nobody in");
}

#[tokio::test]
async fn refusals_have_their_status_and_say_what_is_wrong() {
    let (rig, client) = rig().await;
    let id = Uuid::from_u128(7);
    let unknown = |account: &str| (404, json!({"code": "unknown_account", "account": account}));
    assert_eq!(client.get(&format!("/internal/v1/accounts/{id}")).await, unknown(&id.to_string()));
    assert_eq!(client.get("/internal/v1/accounts/ann/balance").await, unknown("ann"));
    assert_eq!(client.get(&format!("/internal/v1/keys/{}", "0".repeat(64))).await, (200, Value::Null));
    let check = async |uri: String, body: Option<Value>, field: &str, detail: &str| {
        let (status, answer) = match body {
            Some(body) => client.post(&uri, &body).await,
            None => client.get(&uri).await,
        };
        assert_eq!((status, &answer["code"], &answer["field"]), (422, &json!("invalid"), &json!(field)), "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{answer}");
    };
    check("/internal/v1/keys/xyz".into(), None, "hash", "64 hexadecimal digits").await;
    let accounts = "/internal/v1/accounts".to_owned();
    check(accounts.clone(), Some(json!({"email": "a@b.co"})), "body", "plan").await;
    check(accounts.clone(), Some(json!({"email": "a@b.co", "plan": "free", "balance": 9})), "body", "balance").await;
    check(accounts.clone(), Some(json!({"email": "a", "plan": "free"})), "email", "name@example.com").await;
    let mismatch = json!({"account_id": Uuid::nil(), "name": "k"});
    check(format!("{accounts}/{id}/keys"), Some(mismatch), "account_id", "in the path").await;
    let mismatch = json!({"account_id": Uuid::nil(), "amount_usd": "1", "reason": "r"});
    check(format!("{accounts}/{id}/grants"), Some(mismatch), "account_id", "in the path").await;
    check(format!("{accounts}/{id}/statement?limit=x"), None, "query", "limit").await;
    check(format!("{accounts}/{id}/statement?page=1"), None, "query", "page").await;
    check(format!("{accounts}/{id}/statement?limit=0"), None, "limit", "1 to 1000").await;
    check(format!("{accounts}/{id}/statement?from=noon"), None, "query", "noon").await;
    let invoices = "/internal/v1/invoices".to_owned();
    check(format!("{invoices}/INV-1"), None, "number", "`INV-1` is not an invoice's number").await;
    check(format!("{invoices}?limit=0"), None, "limit", "1 to 1000").await;
    check(invoices.clone(), Some(json!({"through": "2026-13"})), "body", "`2026-13` is not a month").await;
    check(invoices, Some(json!({"through": "2027-01"})), "month", "2027-01 is not over yet").await;
    let float = json!({"account_id": id, "amount_usd": 0.1, "reason": "r"});
    check(format!("{accounts}/{id}/grants"), Some(float), "body", "amount_usd").await;

    for (status, code) in [(client.get("/v1/models").await, "no_route"), (client.get(&accounts).await, "no_route")] {
        assert_eq!((status.0, &status.1["code"]), (404, &json!(code)));
    }
    rig.store.close().await;
    let (status, body) = client.get(&format!("/internal/v1/accounts/{id}")).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")), "{body}");
    assert_eq!(client.send(Method::GET, "/readyz", None, "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.send(Method::GET, "/healthz", None, "").await.0, StatusCode::OK);
}
