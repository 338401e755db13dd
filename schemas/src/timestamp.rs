//! Points in time, to the microsecond, in UTC.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::text::digits;

/// Microseconds since 1970-01-01T00:00:00Z. JSON: RFC 3339 in UTC, always with six decimals, so text order is time order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time between the years 0 and 9999.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an RFC 3339 time (such as 2026-01-31T00:00:00Z)")]
pub struct NotATime(pub String);

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: what RFC 3339 can write.
const RANGE_MICROS: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

impl Timestamp {
    /// From microseconds since the epoch, held to the years that RFC 3339 can write.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(*RANGE_MICROS.start(), *RANGE_MICROS.end()))
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The start of the UTC hour that holds this time.
    #[must_use]
    pub fn hour(self) -> Self {
        self.floor(3_600)
    }

    /// The start of the UTC day that holds this time.
    #[must_use]
    pub fn day(self) -> Self {
        self.floor(86_400)
    }

    fn floor(self, seconds: i64) -> Self {
        Self(self.0 - self.0.rem_euclid(seconds * 1_000_000))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp(self.as_seconds()).map_err(|_| fmt::Error)?;
        let micros = self.0.rem_euclid(1_000_000);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{micros:06}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(s: &str) -> Result<Self, NotATime> {
        if let Some(at) = parse_own(s.as_bytes()) {
            return Ok(at);
        }
        let at = OffsetDateTime::parse(s, &Rfc3339).map_err(|_| NotATime(s.to_owned()))?;
        let micros = at.unix_timestamp_nanos().div_euclid(1_000);
        i64::try_from(micros)
            .ok()
            .filter(|micros| RANGE_MICROS.contains(micros))
            .map(Self)
            .ok_or_else(|| NotATime(s.to_owned()))
    }
}

/// Reads what `Display` writes; none for whatever else is allowed, or not.
fn parse_own(text: &[u8]) -> Option<Timestamp> {
    let &[.., b'.', _, _, _, _, _, _, b'Z'] = text else { return None };
    let marks = (*text.get(4)?, *text.get(7)?, *text.get(10)?, *text.get(13)?, *text.get(16)?);
    if text.len() != 27 || marks != (b'-', b'-', b'T', b':', b':') {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to).and_then(digits);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second, micros) = (part(11, 13)?, part(14, 16)?, part(17, 19)?, part(20, 26)?);
    // Days that not every month has, and leap seconds, are for the calendar of a library.
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day;
    let seconds = ((days - DAYS_BEFORE_1970) * 24 + hour) * 3_600 + minute * 60 + second;
    Some(Timestamp(seconds * 1_000_000 + micros))
}

/// From the last day of February of the year 0 to the first day of 1970.
const DAYS_BEFORE_1970: i64 = 719_469;

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_buckets() {
        let check = |text: &str, shown: &str, hour: &str, day: &str| {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(
                (at.to_string(), at.hour().to_string(), at.day().to_string()),
                (shown.into(), hour.into(), day.into())
            );
            assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        };
        check(
            "2026-01-31T23:59:59.9999999Z",
            "2026-01-31T23:59:59.999999Z",
            "2026-01-31T23:00:00.000000Z",
            "2026-01-31T00:00:00.000000Z",
        );
        check(
            "2026-02-01T01:30:00+14:00",
            "2026-01-31T11:30:00.000000Z",
            "2026-01-31T11:00:00.000000Z",
            "2026-01-31T00:00:00.000000Z",
        );
        check(
            "1969-12-31T23:59:59Z",
            "1969-12-31T23:59:59.000000Z",
            "1969-12-31T23:00:00.000000Z",
            "1969-12-31T00:00:00.000000Z",
        );
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
    }
    proptest::proptest! {
        /// The short way of reading and the library's agree, on every second and on what is no time.
        #[test]
        fn both_ways_of_reading_agree(micros in *RANGE_MICROS.start()..=*RANGE_MICROS.end(), at in 0..27_usize, other in 32_u8..127) {
            let text = Timestamp::from_micros(micros).to_string();
            proptest::prop_assert_eq!(text.parse::<Timestamp>(), Ok(Timestamp(micros)));
            let mut spoiled = text.into_bytes();
            spoiled[at] = other;
            let spoiled = String::from_utf8(spoiled).unwrap();
            if let Some(own) = parse_own(spoiled.as_bytes()) {
                let library = OffsetDateTime::parse(&spoiled, &Rfc3339).unwrap();
                proptest::prop_assert_eq!(i128::from(own.0), library.unix_timestamp_nanos() / 1_000);
            }
        }
    }
}
