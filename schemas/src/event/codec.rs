//! The wire form: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::envelope::{Envelope, in_one_pass};
use super::{Event, EventData, verbatim};
use crate::{AccountId, EventId, Timestamp};

pub(super) const SCHEMA_URN: &str = "urn:modelhub:schema:";

/// What nearly every event takes at most, usage above all: written without growing.
const USUAL_BYTES: usize = 1_024;

/// Why a record of the log is not an event that this build knows. The record is quarantined, never lost.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Not a CloudEvent in JSON.
    #[error("not a CloudEvents 1.0 envelope: {0}")]
    Envelope(String),
    /// A type or version of a newer build, or of nobody.
    #[error("unknown event type and schema `{0}`")]
    Unknown(String),
    /// `data` does not fit its schema.
    #[error("data of `{schema}`: {detail}")]
    Data {
        /// Type and version.
        schema: String,
        /// What is wrong and where.
        detail: String,
    },
}

#[derive(Serialize)]
struct Encoded<'a> {
    specversion: &'static str,
    id: EventId,
    source: &'a str,
    r#type: &'a str,
    subject: AccountId,
    time: Timestamp,
    datacontenttype: &'static str,
    dataschema: String,
    data: &'a EventData,
}

impl Event {
    /// The record's bytes, always the same for the same event.
    ///
    /// # Errors
    /// None in practice: no type of an event has a form that JSON lacks.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (r#type, version) = self.data.schema();
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        let encoded = Encoded {
            specversion: "1.0",
            id: self.id,
            source: &self.source,
            r#type,
            subject: self.subject,
            time: self.time,
            datacontenttype: "application/json",
            dataschema: format!("{SCHEMA_URN}{type}:v{version}"),
            data: &self.data,
        };
        serde_json::to_writer(&mut bytes, &encoded)?;
        Ok(bytes)
    }

    /// Reads a record's bytes.
    ///
    /// # Errors
    /// Whatever is not an event of a known type and version; the record belongs in quarantine.
    pub fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        let quickly = verbatim::read(record).or_else(|| in_one_pass(record));
        quickly.map_or_else(|| Self::decode_by_parts(record), Ok)
    }

    /// Reads the envelope first and `data` after it: in whatever order they stand, and with an error that says what is wrong.
    pub(super) fn decode_by_parts(record: &[u8]) -> Result<Self, DecodeError> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(record).map_err(|error| DecodeError::Envelope(error.to_string()))?;
        if envelope.specversion != "1.0" {
            return Err(DecodeError::Envelope(format!("specversion `{}` is not 1.0", envelope.specversion)));
        }
        let schema = envelope.dataschema.strip_prefix(SCHEMA_URN).unwrap_or(&envelope.dataschema);
        let data = EventData::decode(&envelope.r#type, schema, envelope.data)?;
        Ok(Self {
            id: envelope.id,
            source: envelope.source.into_owned(),
            subject: envelope.subject,
            time: envelope.time,
            data,
        })
    }
}

pub(super) fn data<'a, D: Deserialize<'a>>(schema: &str, raw: &'a RawValue) -> Result<D, DecodeError> {
    serde_json::from_str(raw.get())
        .map_err(|error| DecodeError::Data { schema: schema.to_owned(), detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every golden file, oldest versions included, decodes and encodes back to the same bytes, for ever.
    #[test]
    fn golden_files_decode_and_encode_to_the_same_bytes() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
        let mut golden = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let event = Event::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(String::from_utf8(event.encode().unwrap()).unwrap(), text.trim_end(), "{}", path.display());
            let (name, version) = event.data.schema();
            // Where an event says one of several things, each has a file: `credit.adjusted.v1.expire.json`.
            let schema = format!("{name}.v{version}");
            let file = path.file_name().unwrap().to_str().unwrap();
            assert!(file.starts_with(&format!("{schema}.")), "{file}");
            golden.insert(format!("{schema}.json"));
        }
        let every = super::super::types::schemas().into_iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(golden, every);
    }

    #[test]
    fn bad_records_say_what_is_wrong() {
        let golden = include_str!("../../golden/key.issued.v1.json");
        let check = |from: &str, to: &str, expected: &str| {
            assert!(golden.contains(from), "{from}");
            let error = Event::decode(golden.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}\nis not\n{expected}");
        };
        check("\"1.0\"", "\"0.3\"", "not a CloudEvents 1.0 envelope: specversion `0.3` is not 1.0");
        check("key.issued:v1", "key.issued:v9", "unknown event type and schema `key.issued (key.issued:v9)`");
        check("\"type\":\"key.issued\"", "\"type\":\"x\"", "unknown event type and schema `x (key.issued:v1)`");
        check("\"name\":", "\"extra\":1,\"name\":", "data of `key.issued:v1`: unknown field `extra`");
        check("\"data\":{", "\"data\":[{", "not a CloudEvents 1.0 envelope: ");
        let error = Event::decode(b"\xff\x00garbage").unwrap_err();
        assert!(matches!(error, DecodeError::Envelope(_)), "{error}");
    }

    #[test]
    fn extension_attributes_are_ignored() {
        let golden = include_str!("../../golden/key.issued.v1.json");
        let extended = golden.replacen("\"specversion\"", "\"traceparent\":\"00-aa-bb-01\",\"specversion\"", 1);
        assert_eq!(Event::decode(extended.as_bytes()), Event::decode(golden.as_bytes()));
    }

    fn golden() -> Vec<String> {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/golden")).unwrap();
        let mut golden: Vec<_> = folder.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        golden.sort();
        golden
    }

    #[test]
    fn both_ways_of_decoding_agree() {
        for text in golden() {
            let event = Event::decode_by_parts(text.as_bytes()).unwrap();
            assert_eq!(in_one_pass(text.as_bytes()), Some(event.clone()), "{text}");
            let check = |text: &str, expected: Option<&Event>| {
                assert_eq!(in_one_pass(text.as_bytes()).as_ref(), expected, "{text}");
                assert_eq!(Event::decode(text.as_bytes()).as_ref().ok(), Some(&event), "{text}");
            };
            check(&text.replacen("{\"specversion\"", "{\"traceparent\":[{}],\"specversion\"", 1), Some(&event));
            check(&text.replacen("/modelhub", "\\/modelhub", 1), None);
            let (rest, data) = text.trim_end().split_once(",\"data\":").unwrap();
            check(&format!("{{\"data\":{},{}}}", &data[..data.len() - 1], &rest[1..]), None);
            for twice in ["{\"specversion\":\"1.0\",", "{\"source\":\"/x\",", "{\"data\":{},"] {
                let text = text.replacen('{', twice, 1);
                assert_eq!(in_one_pass(text.as_bytes()), None);
                assert!(Event::decode(text.as_bytes()).is_err(), "{text}");
            }
            for (from, to) in [("\"1.0\"", "\"1.1\""), ("urn:modelhub", "urn:other"), ("}}", "}} x")] {
                let text = text.replacen(from, to, 1);
                assert_eq!(in_one_pass(text.as_bytes()), None);
                assert!(Event::decode(text.as_bytes()).is_err(), "{text}");
            }
        }
    }

    proptest::proptest! {
        /// What is read in one pass reads the same by parts, whatever is broken about it.
        #[test]
        fn one_pass_reads_nothing_else(which in 0..100_usize, at in 0..2_000_usize, byte in proptest::prelude::any::<u8>(), remove: bool) {
            let golden = golden();
            let mut record = golden[which % golden.len()].clone().into_bytes();
            let at = at % record.len();
            if remove {
                record.remove(at);
            } else {
                record[at] = byte;
            }
            if let Some(event) = in_one_pass(&record) {
                proptest::prop_assert_eq!(Event::decode_by_parts(&record), Ok(event));
            }
        }
    }
}
