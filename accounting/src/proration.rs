//! What a period that ends early leaves unused. Exact: integers, rounded down once, and what that leaves stays with the
//! operator's revenue.

use rust_decimal::Decimal;
use schemas::event::Period;
use schemas::money::USD_SCALE;
use schemas::{Timestamp, Usd};

/// The unused part of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unused {
    /// Of its price.
    pub price: Usd,
    /// Of its tokens: what goes with that part of the price.
    pub tokens: u64,
}

/// A period's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// All of them.
    pub granted: u64,
    /// Those that are left; at most `granted`.
    pub remaining: u64,
}

/// What is unused of a period that was sold for `price` and ends at `at`; `None` where the price is negative or beyond
/// exact money.
///
/// The fraction `f` is the lesser of the time left and the tokens left: a price pays for both, and what was used up of
/// either can't come back. `price × f` is rounded down to 10⁻¹² USD, `granted × f` to whole tokens. A plan without tokens
/// goes by time alone. A moment outside the period counts as its nearer end.
pub fn unused(price: Usd, period: Period, at: Timestamp, quota: Quota) -> Option<Unused> {
    let micros = |from: Timestamp, to: Timestamp| u128::try_from(to.as_micros().saturating_sub(from.as_micros())).ok();
    let whole = micros(period.start, period.end)?;
    let left = micros(at.clamp(period.start, period.end), period.end)?;
    let (granted, remaining) = (u128::from(quota.granted), u128::from(quota.remaining.min(quota.granted)));
    // left / whole > remaining / granted, without a division.
    let tokens_are_fewer = granted > 0 && left.checked_mul(granted)? > remaining.checked_mul(whole)?;
    let (numerator, denominator) = if tokens_are_fewer { (remaining, granted) } else { (left, whole) };
    if denominator == 0 {
        return Some(Unused { price: Usd::ZERO, tokens: 0 });
    }
    let part = |of: u128| Some(of.checked_mul(numerator)? / denominator);
    let pico = part(u128::try_from(price.to_pico()?).ok()?)?;
    let price = Usd::from_decimal(Decimal::from_i128_with_scale(i128::try_from(pico).ok()?, USD_SCALE)).ok()?;
    Some(Unused { price, tokens: u64::try_from(part(granted)?).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lesser_of_time_and_tokens_comes_back() {
        let day = |day: i64| Timestamp::from_micros(day * 86_400_000_000);
        let november = Period { start: day(0), end: day(30) };
        let check = |price: &str, at: Timestamp, granted, remaining, expected: (&str, u64)| {
            let unused = unused(price.parse().unwrap(), november, at, Quota { granted, remaining }).unwrap();
            assert_eq!((unused.price.to_string().as_str(), unused.tokens), expected, "{price} at {at}");
        };
        check("15", day(0), 100_000_000, 100_000_000, ("15", 100_000_000));
        check("15", day(15), 100_000_000, 100_000_000, ("7.5", 50_000_000));
        check("15", day(15), 100_000_000, 50_000_000, ("7.5", 50_000_000));
        check("15", day(15), 100_000_000, 25_000_000, ("3.75", 25_000_000));
        check("15", day(15), 100_000_000, 0, ("0", 0));
        check("15", day(10), 0, 0, ("10", 0));
        check("10", day(20), 10, 10, ("3.333333333333", 3));
        check("10", day(0), 3, 2, ("6.666666666666", 2));
        check("15", day(-1), 100, 100, ("15", 100));
        check("15", day(30), 100, 100, ("0", 0));
        check("15", day(31), 100, 100, ("0", 0));
        let last = Timestamp::from_micros(day(30).as_micros() - 1_000_000);
        check("15", last, 100_000_000, 100_000_000, ("0.000005787037", 38));
        check(
            "9000000",
            Timestamp::from_micros(1),
            u64::MAX,
            u64::MAX,
            ("8999999.999996527777", 18_446_744_073_702_434_815),
        );
        assert_eq!(unused("-1".parse().unwrap(), november, day(1), Quota { granted: 0, remaining: 0 }), None);
        let forever = Period { start: Timestamp::from_micros(i64::MIN), end: Timestamp::from_micros(i64::MAX) };
        let huge = unused("9000000".parse().unwrap(), forever, day(0), Quota { granted: 1 << 50, remaining: 1 << 50 });
        assert!(huge.is_some());
    }

    proptest! {
        /// Never more than there is of either, and less the later it is.
        #[test]
        fn unused_parts_are_bounded(
            cents in 0_i64..100_000, length in 1_i64..10_000_000, at in 0_i64..10_000_000, later in 0_i64..10_000_000,
            granted in 0_u64..1_000_000, used in 0_u64..1_000_000,
        ) {
            let price = Usd::from_decimal(Decimal::new(cents, 2)).unwrap();
            let period = Period { start: Timestamp::from_micros(0), end: Timestamp::from_micros(length) };
            let quota = Quota { granted, remaining: granted.saturating_sub(used) };
            let first = unused(price, period, Timestamp::from_micros(at), quota).unwrap();
            prop_assert!(first.price <= price && first.tokens <= quota.remaining);
            let second = unused(price, period, Timestamp::from_micros(at + later), quota).unwrap();
            prop_assert!(second.price <= first.price && second.tokens <= first.tokens);
        }
    }
}
