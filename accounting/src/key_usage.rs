//! What a key has used of its limits of money: by day and by month, in UTC, by the time at which a request ended.

use schemas::api::KeyUsed;
use schemas::event::KeyLimits;
use schemas::{Month, Timestamp, Usd};

const MICROS_A_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Adds the cost of a request. One that comes late, of a day or month that is over, counts in the open one: else a single
/// event of a clock that is ahead would keep all others from being counted.
pub fn add(used: Option<KeyUsed>, time: Timestamp, cost: Usd) -> KeyUsed {
    let (day, month) = (day(time), Month::holding(time));
    let Some(before) = used else {
        return KeyUsed { day, usd_in_day: cost, month, usd_in_month: cost, usd_in_total: cost };
    };
    // A sum beyond exact money stays what it was, which is beyond every limit.
    let plus = |sum: Usd| sum.checked_add(cost).unwrap_or(sum);
    let (day, usd_in_day) = match day.cmp(&before.day) {
        std::cmp::Ordering::Less => (before.day, plus(before.usd_in_day)),
        std::cmp::Ordering::Equal => (day, plus(before.usd_in_day)),
        std::cmp::Ordering::Greater => (day, cost),
    };
    let (month, usd_in_month) = match month.cmp(&before.month) {
        std::cmp::Ordering::Less => (before.month, plus(before.usd_in_month)),
        std::cmp::Ordering::Equal => (month, plus(before.usd_in_month)),
        std::cmp::Ordering::Greater => (month, cost),
    };
    KeyUsed { day, usd_in_day, month, usd_in_month, usd_in_total: plus(before.usd_in_total) }
}

/// What a key may still use at `now`, with `pending` under way; `None` where nothing limits it. Never below zero.
pub fn left(limits: &KeyLimits, used: Option<&KeyUsed>, pending: Usd, now: Timestamp) -> Option<Usd> {
    let of = |limit: Option<Usd>, used: Option<Usd>| {
        let left = limit?.checked_sub(used.unwrap_or_default()).and_then(|left| left.checked_sub(pending));
        Some(left.unwrap_or_default().max(Usd::ZERO))
    };
    let today = used.filter(|used| used.day >= day(now)).map(|used| used.usd_in_day);
    let this_month = used.filter(|used| used.month >= Month::holding(now)).map(|used| used.usd_in_month);
    let (in_day, in_month) = (of(limits.usd_per_day, today), of(limits.usd_per_month, this_month));
    [in_day, in_month].into_iter().flatten().min()
}

fn day(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(MICROS_A_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_and_a_month_count_by_themselves() {
        let mut used = None;
        let mut check = |time: &str, cost: &str, in_day: &str, in_month: &str| {
            used = Some(add(used, at(time), usd(cost)));
            let now = used.unwrap();
            assert_eq!((now.usd_in_day, now.usd_in_month), (usd(in_day), usd(in_month)), "{time}");
        };
        check("2026-11-29T23:59:59.999999Z", "1", "1", "1");
        check("2026-11-30T00:00:00Z", "2", "2", "3");
        check("2026-11-30T23:59:59.999999Z", "0.000000000001", "2.000000000001", "3.000000000001");
        // Late: its day is over, and it counts in the open one.
        check("2026-11-29T12:00:00Z", "4", "6.000000000001", "7.000000000001");
        check("2026-12-01T00:00:00Z", "8", "8", "8");
        check("2026-11-30T23:00:00Z", "16", "24", "24");
        assert_eq!(used.unwrap().usd_in_total, usd("31.000000000001"));
    }

    #[test]
    fn what_is_left_is_the_least_of_both() {
        let used = add(Some(add(None, at("2026-11-21T00:00:00Z"), usd("3"))), at("2026-11-22T00:00:00Z"), usd("1"));
        let check = |day: Option<&str>, month: Option<&str>, pending: &str, now: &str, expected: Option<&str>| {
            let limits = KeyLimits { usd_per_day: day.map(usd), usd_per_month: month.map(usd), ..KeyLimits::default() };
            assert_eq!(left(&limits, Some(&used), usd(pending), at(now)), expected.map(usd), "{day:?} {month:?} {now}");
        };
        let (today, tomorrow, next_month) = ("2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z", "2026-12-01T00:00:00Z");
        check(None, None, "9", today, None);
        check(Some("5"), None, "0", today, Some("4"));
        check(Some("5"), None, "1.5", today, Some("2.5"));
        check(Some("5"), None, "0", tomorrow, Some("5"));
        check(Some("5"), Some("6"), "0", today, Some("2"));
        check(Some("1"), Some("6"), "0", today, Some("0"));
        check(Some("0.5"), None, "0", today, Some("0"));
        check(None, Some("6"), "0", tomorrow, Some("2"));
        check(None, Some("6"), "0", next_month, Some("6"));
        check(None, Some("3"), "0", today, Some("0"));
        let limits = KeyLimits { usd_per_day: Some(usd("2")), ..KeyLimits::default() };
        assert_eq!(left(&limits, None, usd("0.5"), at(today)), Some(usd("1.5")));
    }
}
