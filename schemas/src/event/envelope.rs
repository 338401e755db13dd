//! The envelope of a record, read in one pass where its attributes stand in the order in which this build writes them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::codec::SCHEMA_URN;
use super::{Event, EventData};

/// Extension attributes of other writers (`traceparent`, say) are allowed and ignored, as the standard asks.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) specversion: Cow<'a, str>,
    pub(super) id: crate::EventId,
    #[serde(borrow)]
    pub(super) source: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) r#type: Cow<'a, str>,
    pub(super) subject: crate::AccountId,
    pub(super) time: crate::Timestamp,
    #[serde(borrow)]
    pub(super) dataschema: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
}

/// Reads a record in one pass: `data` goes straight into its type, because all that decides about it stands before it.
/// None for every record that is not exactly so, good or bad: [`Envelope`] tells which.
pub(super) fn in_one_pass(record: &[u8]) -> Option<Event> {
    // One look at the whole for UTF-8 is faster than one at each text.
    let mut deserializer = serde_json::Deserializer::from_str(std::str::from_utf8(record).ok()?);
    let event = deserializer.deserialize_map(OnePass).ok()?;
    deserializer.end().ok()?;
    Some(event)
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Attribute {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataSchema,
    Data,
    #[serde(other)]
    Other,
}

struct OnePass;

impl<'de> Visitor<'de> for OnePass {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvents envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let (mut version, mut r#type, mut schema) = (None::<&str>, None::<&str>, None::<&str>);
        let (mut id, mut source, mut subject, mut time, mut data) = (None, None::<&str>, None, None, None);
        while let Some(attribute) = map.next_key()? {
            match attribute {
                Attribute::SpecVersion => once(&mut version, map.next_value()?)?,
                Attribute::Id => once(&mut id, map.next_value()?)?,
                Attribute::Source => once(&mut source, map.next_value()?)?,
                Attribute::Type => once(&mut r#type, map.next_value()?)?,
                Attribute::Subject => once(&mut subject, map.next_value()?)?,
                Attribute::Time => once(&mut time, map.next_value()?)?,
                Attribute::DataSchema => once(&mut schema, map.next_value()?)?,
                Attribute::Data => {
                    let of = DataOf { r#type: given(r#type)?, schema: given(schema)? };
                    once(&mut data, map.next_value_seed(of)?)?;
                }
                Attribute::Other => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        if given(version)? != "1.0" {
            return Err(Error::custom("another version"));
        }
        Ok(Event {
            id: given(id)?,
            source: given(source)?.to_owned(),
            subject: given(subject)?,
            time: given(time)?,
            data: given(data)?,
        })
    }
}

fn once<T, E: Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("twice")),
    }
}

fn given<T, E: Error>(value: Option<T>) -> Result<T, E> {
    value.ok_or_else(|| E::custom("not given, or not yet"))
}

/// `data` of an event of this type under this schema.
struct DataOf<'a> {
    r#type: &'a str,
    schema: &'a str,
}

impl<'de> DeserializeSeed<'de> for DataOf<'_> {
    type Value = EventData;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<EventData, D::Error> {
        let schema = self.schema.strip_prefix(SCHEMA_URN).unwrap_or(self.schema);
        EventData::deserialize_as(self.r#type, schema, deserializer)
    }
}
