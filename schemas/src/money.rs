//! Exact money (I1): decimals, never floats, never rounded except on screen.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::text::digits;

/// Decimals that a US dollar amount may have: unit prices have 6 per 1,000,000 tokens, so every cost is exact at 12.
pub const USD_SCALE: u32 = 12;
/// Decimals that a unit price may have, in USD per 1,000,000 tokens.
pub const PRICE_SCALE: u32 = 6;

/// The largest amount an event may carry and the largest balance an account may hold, in USD. It keeps every stored
/// amount inside a 64-bit count of 10⁻¹² USD (`SQLite`) and every sum of 10¹⁰ of them inside a `Decimal`.
pub const MAX_USD: i64 = 9_000_000;

/// Why a text is not an amount of money.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MoneyError {
    /// Not a plain decimal number.
    #[error("`{0}` is not a decimal number")]
    NotANumber(String),
    /// More decimals than are kept exactly.
    #[error("`{value}` has more than {max} decimals")]
    TooPrecise {
        /// The text as it was given.
        value: String,
        /// Decimals allowed.
        max: u32,
    },
    /// Negative where only zero and above make sense.
    #[error("`{0}` is negative")]
    Negative(String),
    /// Beyond what can be kept exactly.
    #[error("`{0}` is out of range (at most {MAX_USD} USD)")]
    OutOfRange(String),
}

fn parse(text: &str, scale: u32) -> Result<Decimal, MoneyError> {
    if let Some(value) = parse_plain(text, scale) {
        return Ok(value);
    }
    // The library reads underscores and a plus as well, which no JSON schema of ours allows.
    if text.contains(['_', '+']) {
        return Err(MoneyError::NotANumber(text.to_owned()));
    }
    let value = Decimal::from_str_exact(text).map_err(|_| MoneyError::NotANumber(text.to_owned()))?.normalize();
    if value.scale() > scale {
        return Err(MoneyError::TooPrecise { value: text.to_owned(), max: scale });
    }
    if value.abs() > Decimal::from(MAX_USD) {
        return Err(MoneyError::OutOfRange(text.to_owned()));
    }
    Ok(value)
}

/// What nearly every text is: a sign or none, digits, a point and digits or none. None for whatever else is allowed, or not.
fn parse_plain(text: &str, scale: u32) -> Option<Decimal> {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fraction = match fraction.trim_end_matches('0') {
        "" if fraction.is_empty() => return None,
        fraction => fraction,
    };
    let decimals = u32::try_from(fraction.len()).ok().filter(|decimals| *decimals <= scale)?;
    let whole = digits(whole.as_bytes()).filter(|whole| *whole < MAX_USD)?;
    let fraction = if fraction.is_empty() { 0 } else { digits(fraction.as_bytes())? };
    // Below 9,000,000 with 12 decimals at most: it fits.
    let mantissa = whole * 10_i64.pow(decimals) + fraction;
    Some(Decimal::new(if is_negative { -mantissa } else { mantissa }, decimals))
}

/// An amount of US dollars with at most 12 decimals; may be negative (a change, a debt).
///
/// JSON: a string holding the exact, normalised decimal (`"0.000005"`).
// Inside, it may have trailing zeros, which equality, order and hash of decimals ignore: arithmetic need not remove them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(Decimal);

impl Usd {
    /// No money.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// An amount that is already known to be exact at 12 decimals, as computed by rating or read from a store.
    pub fn from_decimal(value: Decimal) -> Result<Self, MoneyError> {
        let value = if value.scale() > USD_SCALE { value.normalize() } else { value };
        if value.scale() > USD_SCALE {
            return Err(MoneyError::TooPrecise { value: value.to_string(), max: USD_SCALE });
        }
        Ok(Self(value))
    }

    /// From a count of 10⁻¹² USD, the unit of the embedded stores.
    pub fn from_pico(pico_usd: i64) -> Self {
        Self(Decimal::new(pico_usd, USD_SCALE))
    }

    /// As a count of 10⁻¹² USD; `None` beyond ±9.2 million USD.
    pub fn to_pico(self) -> Option<i64> {
        let missing = USD_SCALE.checked_sub(self.0.scale())?;
        self.0.mantissa().checked_mul(10_i128.pow(missing))?.try_into().ok()
    }

    /// The exact decimal, without trailing zeros.
    pub fn as_decimal(self) -> Decimal {
        self.0.normalize()
    }

    /// Sum; `None` where a `Decimal` can't hold it exactly.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        exact(self.0.checked_add(other.0)?)
    }

    /// Difference; `None` where a `Decimal` can't hold it exactly.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        exact(self.0.checked_sub(other.0)?)
    }

    /// Whether the amount is within ±[`MAX_USD`].
    pub fn in_range(self) -> bool {
        self.0.abs() <= Decimal::from(MAX_USD)
    }

    /// Above zero.
    pub fn is_positive(self) -> bool {
        self.0 > Decimal::ZERO
    }

    /// Whether it has at most the two decimals that payments have.
    pub fn is_whole_cents(self) -> bool {
        self.0.normalize().scale() <= 2
    }

    /// Exactly zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The amount with its sign turned.
    #[must_use]
    pub fn negated(self) -> Self {
        if self.0.is_zero() { Self::ZERO } else { Self(-self.0) }
    }
}

/// `Decimal`'s checked operations drop digits where the sum needs more than 28 of them; an amount that lost its scale
/// that way is refused instead.
fn exact(value: Decimal) -> Option<Usd> {
    let bound = Decimal::from(10_000_000_000_000_000_i64);
    (value.abs() < bound).then_some(Usd(value))
}

impl FromStr for Usd {
    type Err = MoneyError;

    fn from_str(s: &str) -> Result<Self, MoneyError> {
        parse(s, USD_SCALE).map(Self)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_decimal().fmt(f)
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.as_decimal())
    }
}

/// A price in USD per 1,000,000 tokens: zero or more, with at most 6 decimals.
///
/// JSON and TOML: a string (`"0.035"`), because a TOML float is a binary float.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnitPrice(Decimal);

impl UnitPrice {
    /// The exact decimal, in USD per 1,000,000 tokens.
    pub fn as_decimal(self) -> Decimal {
        self.0
    }

    /// The price of one token, as a count of 10⁻¹² USD.
    pub fn pico_per_token(self) -> i64 {
        // At most 9,000,000 with at most 6 decimals: no step of it can fail.
        let missing = PRICE_SCALE.saturating_sub(self.0.scale());
        i64::try_from(self.0.mantissa().saturating_mul(10_i128.pow(missing))).unwrap_or(i64::MAX)
    }
}

impl FromStr for UnitPrice {
    type Err = MoneyError;

    fn from_str(s: &str) -> Result<Self, MoneyError> {
        let value = parse(s, PRICE_SCALE)?;
        if value.is_sign_negative() && !value.is_zero() {
            return Err(MoneyError::Negative(s.to_owned()));
        }
        Ok(Self(value))
    }
}

impl fmt::Display for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}/1M", self.0)
    }
}

macro_rules! as_json_string {
    ($name:ident, $pattern:literal, $description:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::text::deserialize(deserializer)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

as_json_string!(Usd, r"^-?[0-9]+(\.[0-9]{1,12})?$", "US dollars, exact, at most 12 decimals");
as_json_string!(UnitPrice, r"^[0-9]+(\.[0-9]{1,6})?$", "US dollars per 1,000,000 tokens, exact, at most 6 decimals");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        let check = |text: &str, expected: Result<&str, MoneyError>| {
            let got = text.parse::<Usd>().map(|usd| usd.to_string());
            assert_eq!(got, expected.map(str::to_owned), "{text}");
        };
        check("5", Ok("5"));
        check("5.00", Ok("5"));
        check("0.000005", Ok("0.000005"));
        check("-0.000000000001", Ok("-0.000000000001"));
        check("9000000", Ok("9000000"));
        check("9000000.000000000001", Err(MoneyError::OutOfRange("9000000.000000000001".into())));
        check("0.0000000000001", Err(MoneyError::TooPrecise { value: "0.0000000000001".into(), max: 12 }));
        check("1e3", Err(MoneyError::NotANumber("1e3".into())));
        check("NaN", Err(MoneyError::NotANumber("NaN".into())));
        check("", Err(MoneyError::NotANumber(String::new())));
        check("1_000", Err(MoneyError::NotANumber("1_000".into())));
        check("+5", Err(MoneyError::NotANumber("+5".into())));
    }

    #[test]
    fn prices_are_non_negative_with_six_decimals() {
        let check = |text: &str, ok: bool| assert_eq!(text.parse::<UnitPrice>().is_ok(), ok, "{text}");
        check("0.20", true);
        check("0", true);
        check("0.000001", true);
        check("0.0000001", false);
        check("-0.1", false);
    }

    #[test]
    fn json_numbers_are_refused_because_they_may_be_floats() {
        assert!(serde_json::from_str::<Usd>("0.1").is_err());
        assert_eq!(serde_json::from_str::<Usd>("\"0.10\"").unwrap().to_string(), "0.1");
        assert_eq!(serde_json::to_string(&"0.10".parse::<Usd>().unwrap()).unwrap(), "\"0.1\"");
    }

    proptest::proptest! {
        #[test]
        fn pico_round_trips(pico in -9_000_000_000_000_000_000_i64..=9_000_000_000_000_000_000) {
            proptest::prop_assert_eq!(Usd::from_pico(pico).to_pico(), Some(pico));
            proptest::prop_assert_eq!(Usd::from_pico(pico).to_string().parse::<Usd>().unwrap(), Usd::from_pico(pico));
        }

        #[test]
        fn sums_agree_with_integers(a in -4_000_000_000_000_000_000_i64..4_000_000_000_000_000_000, b in -4_000_000_000_000_000_000_i64..4_000_000_000_000_000_000) {
            let sum = Usd::from_pico(a).checked_add(Usd::from_pico(b)).unwrap();
            proptest::prop_assert_eq!(sum, Usd::from_pico(a + b));
            let difference = Usd::from_pico(a).checked_sub(Usd::from_pico(b)).unwrap();
            proptest::prop_assert_eq!(difference, Usd::from_pico(a - b));
        }

        /// The short way of reading and the library's agree, on amounts and on what is none.
        #[test]
        fn both_ways_of_reading_agree(text in "-?[0-9]{0,8}(\\.[0-9]{0,13})?", other in "[-+._0-9eE]{0,4}") {
            for text in [text.clone(), other.clone(), format!("{text}{other}")] {
                let library = Decimal::from_str_exact(&text).map(|value| value.normalize());
                for scale in [PRICE_SCALE, USD_SCALE] {
                    if let Some(own) = parse_plain(&text, scale) {
                        proptest::prop_assert_eq!(Ok(own), library.clone(), "{}", text);
                        proptest::prop_assert!(own.scale() <= scale && own.abs() < Decimal::from(MAX_USD));
                    }
                }
            }
        }
    }
}
