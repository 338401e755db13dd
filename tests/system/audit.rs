//! An audit is clean where nothing was touched, names what was, and a rebuild gives the same tables, byte for byte.

mod corruption;
mod moments;
mod rebuilds;

use std::path::Path;

use serde_json::{Value, json};

use crate::books::Written;
use crate::system::Finished;

/// What was planted, and what an audit has to say of it.
struct Planted<'a> {
    file: &'static str,
    statement: String,
    /// Where something has to differ.
    section: &'static str,
    /// The first event that differs, and in what; none where it is no event.
    first: Option<(&'a Written, &'static str)>,
}

fn planted<'a>(
    file: &'static str,
    statement: impl Into<String>,
    section: &'static str,
    first: Option<(&'a Written, &'static str)>,
) -> Planted<'a> {
    Planted { file, statement: statement.into(), section, first }
}

/// The audit fails, and its report says what and where.
fn named(audit: &Finished, planted: &Planted<'_>) {
    let what = &planted.statement;
    assert_eq!(audit.code, 1, "{what}: {audit:?}");
    let report = audit.json();
    assert_eq!(report["clean"], false, "{what}");
    assert!(report["sections"][planted.section]["differences"].as_u64() > Some(0), "{what}: {report:#}");
    match planted.first {
        None => assert_eq!(report["first"], Value::Null, "{what}: {report:#}"),
        Some((written, field)) => {
            let first = &report["first"];
            assert_eq!(first["position"], json!(written.position), "{what}: {report:#}");
            if !written.event.is_empty() {
                assert_eq!(first["event"], json!(written.event), "{what}: {report:#}");
                assert_eq!(first["account"], json!(written.account), "{what}: {report:#}");
            }
            assert!(first["what"].as_str().unwrap().contains(field), "{what}: {report:#}");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
