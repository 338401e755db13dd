//! What the defaults are, what overrides them, and what is refused.

use super::*;

fn read(toml: &str) -> Result<Loaded> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("modelhub.toml");
    std::fs::write(&file, toml).unwrap();
    load(Some(&file))
}

#[test]
fn the_defaults_are_the_documented_catalogue() {
    let loaded = read("").unwrap();
    let plan = |id: &str| {
        let p = &loaded.catalogue.plans[id];
        let (price, trial) = (p.price_usd.to_string(), p.trial_credit_usd.to_string());
        (price, p.tokens_per_month, p.rollover_tokens, p.requests_per_minute, p.max_keys, p.max_in_flight, trial)
    };
    assert_eq!(plan("free"), ("0".into(), 0, 0, 10, Some(2), 2, "5".into()));
    assert_eq!(plan("backpack"), ("15".into(), 100_000_000, 100_000_000, 100, Some(10), 20, "0".into()));
    assert_eq!(plan("launch"), ("65".into(), 500_000_000, 500_000_000, 100, Some(50), 100, "0".into()));
    let price = |id: &str| {
        let price = loaded.catalogue.models[id].price;
        [price.input, price.cached_input, price.output].map(|p| p.to_string())
    };
    assert_eq!(price("deepseek-v4-flash"), ["0.2", "0.02", "0.3"]);
    assert_eq!(price("deepseek-v4-pro"), ["0.6", "0.06", "1.8"]);
    assert_eq!(price("qwen-turbo"), ["0.035", "0.0035", "0.14"]);
    assert_eq!(loaded.config.listen, "127.0.0.1:8080");
}

#[test]
fn a_plan_is_overridden_key_by_key() {
    let loaded = read("[[plans]]\nid = \"free\"\nmax_keys = 3\n").unwrap();
    let free = &loaded.catalogue.plans["free"];
    assert_eq!((free.max_keys, free.requests_per_minute, free.trial_credit_usd.to_string()), (Some(3), 10, "5".into()));
    assert_eq!(loaded.catalogue.plans.len(), 3);
}

const UPSTREAM: &str = "[[upstreams]]\nname = \"u\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";
const MODEL: &str = "[[models]]\nid = \"m\"\nupstream = \"u\"\ncontext_tokens = 10\nmax_output_tokens = 5\n\
                     price = { input = \"1\", cached_input = \"1\", output = \"1\" }\n";

#[test]
fn configured_models_replace_the_built_in_ones() {
    let loaded = read(&format!("{UPSTREAM}{MODEL}")).unwrap();
    assert_eq!(loaded.catalogue.models.keys().collect::<Vec<_>>(), ["m"]);
    let upstream = &loaded.config.upstreams[0];
    let timeouts = (upstream.connect_timeout_ms, upstream.first_token_timeout_ms, upstream.idle_timeout_ms);
    assert_eq!((timeouts, upstream.content_timeout_ms), ((2_000, 60_000, 30_000), 300_000));
}

#[test]
fn a_model_has_its_upstreams_in_order() {
    let fallbacks = "upstream_model = \"um\"\nfallbacks = [{ upstream = \"demo\" }]\ncontext";
    let loaded = read(&format!("{UPSTREAM}{}", MODEL.replace("context", fallbacks))).unwrap();
    assert_eq!(loaded.catalogue.models["m"].routes().collect::<Vec<_>>(), [("u", "um"), ("demo", "m")]);
}

#[test]
fn what_makes_no_sense_names_its_key() {
    let check = |toml: &str, expected: &[&str]| {
        let error = format!("{:#}", read(toml).unwrap_err());
        assert!(expected.iter().all(|part| error.contains(part)), "{error}\nlacks one of {expected:?}");
    };
    check("lisen = \"x\"", &["unknown field", "lisen"]);
    check("[kafka]\nbroker = \"x\"", &["unknown field", "broker"]);
    for timeout in ["999", "300001"] {
        let kafka = format!("[kafka]\nbrokers = \"x\"\nsession_timeout_ms = {timeout}");
        check(&kafka, &["kafka.session_timeout_ms", timeout, "1000 to 300000"]);
    }
    check("[spool]\nmax_bytes = 1000", &["spool.max_bytes", "1000", "at least 1048576"]);
    check("[[plans]]\nid = \"free\"\nprice_usd = \"-1\"", &["free", "price_usd", "-1", "negative"]);
    check("[[plans]]\nid = \"free\"\nprice_usd = 1.5", &["price_usd"]);
    check("[[plans]]\nid = \"new\"\nprice_usd = \"1\"", &["new", "every term"]);
    check(&format!("{UPSTREAM}{UPSTREAM}{MODEL}"), &["upstreams", "`u`", "twice"]);
    check(&format!("{UPSTREAM}{MODEL}{MODEL}"), &["models", "`m`", "twice"]);
    check(MODEL, &["`m`", "upstream `u`"]);
    let fallback = |fallbacks: &str| {
        format!("{UPSTREAM}{}", MODEL.replace("context", &format!("fallbacks = [{fallbacks}]\ncontext")))
    };
    check(&fallback("{ upstream = \"x\" }"), &["`m`", "upstream `x`", "none of [[upstreams]]"]);
    check(&fallback("{ upstream = \"u\", upstream_model = \"other\" }"), &["`m`", "`u`", "twice"]);
    check(&fallback("{ upstream = \"demo\" }, { upstream = \"demo\" }"), &["`m`", "`demo`", "twice"]);
    check(&fallback("{ name = \"demo\" }"), &["unknown field", "name"]);
    check(&format!("{UPSTREAM}{}", MODEL.replace("output = \"1\"", "output = \"-1\"")), &["`-1` is negative"]);
    check(&format!("{UPSTREAM}{}", MODEL.replace(", output = \"1\"", "")), &["missing field", "output"]);
    check(&format!("{UPSTREAM}{}", MODEL.replace("\"1\" }", "\"0.0000001\" }")), &["more than 6 decimals"]);
    check(
        &format!("{UPSTREAM}{}", MODEL.replace("cached_input = \"1\"", "cached_input = \"1.01\"")),
        &["`m`", "price.cached_input is 1.01", "above price.input"],
    );
    check(
        &format!("{UPSTREAM}{}", MODEL.replace("context_tokens = 10", "context_tokens = 0")),
        &["`m`", "context_tokens"],
    );
    check(
        &format!("{UPSTREAM}{}", MODEL.replace("\"m\"", &format!("\"{}\"", "m".repeat(2_000)))),
        &["2001 bytes", "2000"],
    );
    let missing = load(Some(Path::new("/nonexistent/modelhub.toml"))).unwrap_err();
    assert!(format!("{missing:#}").contains("/nonexistent/modelhub.toml"), "{missing:#}");
}

#[test]
fn a_secret_of_the_environment_is_what_it_says() {
    let check = |value: &str| {
        let figment =
            Figment::new().merge(Toml::string("[clickhouse]\nurl = \"http://127.0.0.1:1\"\npassword = \"file\""));
        let variable = |name: &str| (name == "MODELHUB_CLICKHOUSE__PASSWORD").then(|| value.to_owned());
        let config: Config = secrets(figment, variable).extract().unwrap();
        assert_eq!(config.clickhouse.unwrap().password.unwrap().expose(), value);
    };
    for value in ["hunter2", "0123", "424242", "true", "1e9", "[a]", "\"quoted\"", "a.b__c", ""] {
        check(value);
    }
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    let check = |toml: &str, expected: &[&str]| {
        let error = format!("{:#}", read(toml).unwrap_err());
        assert!(expected.iter().all(|part| error.contains(part)), "{error}\nlacks one of {expected:?}");
        assert!(!error.contains("4242"), "{error}");
    };
    check("key_pepper = 424242", &["key_pepper", "in quotes"]);
    check("key_pepper = -4242", &["key_pepper", "in quotes"]);
    check("key_pepper = 4242.5", &["key_pepper", "in quotes"]);
    check("[ledger]\nsecret = 424242", &["ledger.secret", "in quotes"]);
    check("[ledger]\nsecret = [\"4242\"]", &["ledger.secret"]);
    check("key_pepper = \"\"", &["key_pepper", "empty"]);
    check("[ledger]\nsecret = \" \"", &["ledger.secret", "empty"]);
}
