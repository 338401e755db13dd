//! Calendar months in UTC: what invoices are about.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{Date, OffsetDateTime};

use crate::Timestamp;
use crate::text::digits;

/// A calendar month in UTC, of the years 0 to 9999. JSON: `"2026-10"`, so text order is time order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: u16,
    /// From 1 to 12.
    month: u8,
}

/// The text is not a month.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a month (such as 2026-10)")]
pub struct NotAMonth(pub String);

impl Month {
    const LAST: Self = Self { year: 9_999, month: 12 };

    /// The month that holds a moment.
    pub fn holding(at: Timestamp) -> Self {
        // A timestamp is within the years 0 to 9999, which every part of this can hold.
        let date = OffsetDateTime::from_unix_timestamp(at.as_seconds()).map_or(Date::MAX, OffsetDateTime::date);
        Self { year: u16::try_from(date.year()).unwrap_or(9_999), month: u8::from(date.month()) }
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        let month = time::Month::January.nth_next(self.month.saturating_sub(1));
        let date = Date::from_calendar_date(i32::from(self.year), month, 1).unwrap_or(Date::MAX);
        Timestamp::from_micros(date.midnight().assume_utc().unix_timestamp().saturating_mul(1_000_000))
    }

    /// The first moment that is not in it any more: the next month's start.
    pub fn end(self) -> Timestamp {
        if self == Self::LAST { Timestamp::from_micros(i64::MAX) } else { self.next().start() }
    }

    /// The one after it; the last month of the calendar is followed by itself.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::LAST => self,
            Self { year, month: 12 } => Self { year: year + 1, month: 1 },
            Self { year, month } => Self { year, month: month + 1 },
        }
    }

    /// The one before it; none before the first of the calendar.
    pub fn previous(self) -> Option<Self> {
        match self {
            Self { year, month: 1 } => Some(Self { year: year.checked_sub(1)?, month: 12 }),
            Self { year, month } => Some(Self { year, month: month - 1 }),
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl fmt::Debug for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Month {
    type Err = NotAMonth;

    fn from_str(text: &str) -> Result<Self, NotAMonth> {
        let parts = text.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2);
        let month = parts.and_then(|(year, month)| {
            let month = digits(month.as_bytes()).filter(|month| (1..=12).contains(month))?;
            Some(Self { year: digits(year.as_bytes())?.try_into().ok()?, month: month.try_into().ok()? })
        });
        month.ok_or_else(|| NotAMonth(text.to_owned()))
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

impl JsonSchema for Month {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Month".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$", "description": "A calendar month in UTC"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_starts_and_ends() {
        let check = |text: &str, start: &str, end: &str| {
            let month: Month = text.parse().unwrap();
            assert_eq!(month.to_string(), text);
            assert_eq!((month.start().to_string(), month.end().to_string()), (start.into(), end.into()), "{text}");
        };
        check("2026-10", "2026-10-01T00:00:00.000000Z", "2026-11-01T00:00:00.000000Z");
        check("2026-12", "2026-12-01T00:00:00.000000Z", "2027-01-01T00:00:00.000000Z");
        check("2028-02", "2028-02-01T00:00:00.000000Z", "2028-03-01T00:00:00.000000Z");
        check("0000-01", "0000-01-01T00:00:00.000000Z", "0000-02-01T00:00:00.000000Z");
        check("9999-12", "9999-12-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z");
        for bad in ["2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", "2026/10", "+026-10", "", "October"] {
            assert_eq!(bad.parse::<Month>(), Err(NotAMonth(bad.into())));
        }
        assert_eq!("0000-01".parse::<Month>().unwrap().previous(), None);
        assert_eq!(Month::LAST.next(), Month::LAST);
    }

    proptest::proptest! {
        /// Every moment is in exactly one month, and months follow each other without a gap.
        #[test]
        fn a_month_holds_its_moments(micros in -62_167_219_200_000_000_i64..=253_402_300_799_999_998) {
            let at = Timestamp::from_micros(micros);
            let month = Month::holding(at);
            proptest::prop_assert!(month.start() <= at && at < month.end());
            proptest::prop_assert!(at.to_string().starts_with(&month.to_string()));
            proptest::prop_assert_eq!(month.to_string().parse::<Month>(), Ok(month));
            if month != Month::LAST {
                proptest::prop_assert_eq!(month.next().previous(), Some(month));
                proptest::prop_assert_eq!(month.next().start(), month.end());
            }
        }
    }
}
