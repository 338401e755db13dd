//! `modelhub export`: the log as JSON lines, each with its place and the record as it is.
//!
//! `{"partition":0,"offset":7,"event":…}`. The bytes after `"event":` are the record's own. A record that is not JSON, or
//! not in one line, is `{"partition":0,"offset":8,"base64":"…"}` instead, so that no record is changed or left out.

use std::io::{BufWriter, ErrorKind, Write};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventlog::{Bounds, StoredRecord, partition};
use schemas::{AccountId, Offset, PartitionId, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cli::Export;
use crate::config::Loaded;
use crate::stores;

/// What a record is chosen by. Of a record that has neither nobody knows whose or when it is.
#[derive(Deserialize)]
struct Envelope {
    subject: AccountId,
    time: Timestamp,
}

/// Writes the log, as far as it goes now, to standard output.
pub(crate) async fn run(loaded: Loaded, export: Export) -> Result<()> {
    let log = stores::log(&loaded.config).await?;
    let partitions = (0..log.partitions()).map(PartitionId);
    // An account's records are all in one partition; what was misrouted is not its.
    let home = export.account.map(|account| partition::of(account, log.partitions()));
    let mut out = BufWriter::new(std::io::stdout().lock());
    for id in partitions.filter(|id| home.is_none_or(|home| home == *id)) {
        let end = log.end(id).await?;
        let mut from = Offset(0);
        while from < end {
            let batch = log.read(id, from, Bounds::default()).await?;
            from = batch.next;
            for record in batch.records.iter().filter(|record| record.offset < end && chosen(&export, &record.payload))
            {
                match write(&mut out, id, record) {
                    // Whoever reads has seen enough: `modelhub export | head`.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    written => written.context("writing to standard output")?,
                }
            }
        }
    }
    match out.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        flushed => flushed.context("writing to standard output"),
    }
}

fn chosen(export: &Export, record: &[u8]) -> bool {
    if export.account.is_none() && export.from.is_none() && export.to.is_none() {
        return true;
    }
    let Ok(Envelope { subject, time }) = serde_json::from_slice(record) else { return false };
    export.account.is_none_or(|account| account == subject)
        && export.from.is_none_or(|from| from <= time)
        && export.to.is_none_or(|to| time < to)
}

fn write(out: &mut impl Write, partition: PartitionId, record: &StoredRecord) -> std::io::Result<()> {
    write!(out, "{{\"partition\":{partition},\"offset\":{},", record.offset)?;
    if is_json_line(&record.payload) {
        out.write_all(b"\"event\":")?;
        out.write_all(&record.payload)?;
    } else {
        write!(out, "\"base64\":\"{}\"", STANDARD.encode(&record.payload))?;
    }
    out.write_all(b"}\n")
}

/// A line's end can be in JSON, between its tokens.
fn is_json_line(record: &[u8]) -> bool {
    let text = std::str::from_utf8(record).ok().filter(|text| !text.contains(['\n', '\r']));
    text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(payload: &[u8]) -> String {
        let mut out = Vec::new();
        let record = StoredRecord { offset: Offset(7), payload: payload.to_vec().into() };
        write(&mut out, PartitionId(2), &record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_record_is_one_line_as_it_is() {
        let check = |payload: &[u8], expected: &str| {
            assert_eq!(line(payload), format!("{{\"partition\":2,\"offset\":7,{expected}}}\n"), "{payload:?}");
        };
        check(b"{}", r#""event":{}"#);
        check(br#" {"a" : 1.00, "a":"\u00e4" } "#, r#""event": {"a" : 1.00, "a":"\u00e4" } "#);
        check("\"ü\"".as_bytes(), "\"event\":\"ü\"");
        check(b"null", r#""event":null"#);
        check(b"{}{}", r#""base64":"e317fQ==""#);
        check(b"{\n}", r#""base64":"ewp9""#);
        check(b"", r#""base64":"""#);
        check(b"{\xff\0", r#""base64":"e/8A""#);
        check(b"\"\xff\"", r#""base64":"Iv8i""#);
    }

    #[test]
    fn records_are_chosen_by_account_and_time() {
        let account = "01890a5d-ac96-774b-bcce-b302099a8057";
        let record = format!(r#"{{"subject":"{account}","time":"2026-11-01T00:00:01.5Z","data":1}}"#);
        let check = |account: Option<&str>, from: Option<&str>, to: Option<&str>, record: &str, expected| {
            let time = |text: &str| text.parse().unwrap();
            let export =
                Export { account: account.map(|id| id.parse().unwrap()), from: from.map(time), to: to.map(time) };
            assert_eq!(chosen(&export, record.as_bytes()), expected, "{export:?} {record}");
        };
        check(None, None, None, "garbage", true);
        check(None, Some("2026-01-01T00:00:00Z"), None, "garbage", false);
        check(Some(account), None, None, &record, true);
        check(Some("01890a5d-ac96-774b-bcce-b302099a8058"), None, None, &record, false);
        check(None, Some("2026-11-01T00:00:01.5Z"), None, &record, true);
        check(None, Some("2026-11-01T00:00:01.500001Z"), None, &record, false);
        check(None, None, Some("2026-11-01T00:00:01.500001Z"), &record, true);
        check(None, None, Some("2026-11-01T00:00:01.5Z"), &record, false);
    }
}
