//! The log as JSON lines: every record, as it is, in both modes.

use crate::books;
use crate::system::System;

async fn exports_every_record_as_it_is(system: System) {
    let log = books::log(&system).await;
    let history = books::history(&*log).await;
    let line = |written: &books::Written| {
        let position = written.position;
        let content = match written.event.as_str() {
            "" => "\"base64\":\"eyJnYXJiYWdlIjo=\"".to_owned(),
            _ => format!("\"event\":{}", written.payload),
        };
        format!("{{\"partition\":{},\"offset\":{},{content}}}", position.partition, position.offset)
    };
    let export = |arguments: Vec<String>| {
        let system = &system;
        async move {
            let arguments: Vec<&str> = std::iter::once("export").chain(arguments.iter().map(String::as_str)).collect();
            let exported = system.run(&arguments).await;
            assert_eq!(exported.code, 0, "{exported:?}");
            exported.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
        }
    };
    let all = export(vec![]).await;
    let mut places: Vec<_> = history.iter().collect();
    places.sort_by_key(|written| written.position);
    let ours: Vec<_> = places.iter().map(|written| line(written)).collect();
    let exported: Vec<_> = all.iter().filter(|line| ours.contains(line)).cloned().collect();
    assert_eq!(exported, ours, "each, in the order of partition and offset");

    let account = history[0].account;
    let of_account: Vec<_> =
        places.iter().filter(|w| w.account == account && !w.event.is_empty()).map(|w| line(w)).collect();
    assert_eq!(export(vec!["--account".into(), account.to_string()]).await, of_account);
    let used: Vec<_> = of_account.iter().filter(|line| line.contains("usage.recorded")).cloned().collect();
    let since = vec!["--account".into(), account.to_string(), "--from".into(), "2026-11-01T00:00:01Z".into()];
    assert_eq!(export(since.clone()).await, used);
    let until = [since, vec!["--to".into(), "2026-11-01T00:00:01.5Z".into()]].concat();
    assert_eq!(export(until).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_exports_every_record_as_it_is() {
    exports_every_record_as_it_is(System::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_exports_every_record_as_it_is() {
    exports_every_record_as_it_is(System::distributed().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_where_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::embedded().await;
    let missing = folder.path().join("none");
    for arguments in [&["export"][..], &["audit"], &["rebuild", "ledger"], &["admin", "quarantine", "list"]] {
        let refused = system.run_with(arguments, &[("MODELHUB_DATA_DIR", missing.to_str().unwrap())]).await;
        assert!(refused.code == 1 && refused.stderr.contains("there is no"), "{arguments:?}: {refused:?}");
    }
    assert!(!missing.exists());
}
