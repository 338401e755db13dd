//! The calendar of subscriptions: months from an anchor, by the customer's own time. Pure: commands ask it for the next
//! period, and events carry the answer.

use schemas::Timestamp;
use schemas::event::{BillingAnchor, Period};
use time::{Date, Month, OffsetDateTime};

/// The farthest that a customer's time may be from UTC, in minutes: what the world's zones reach.
pub const MAX_UTC_OFFSET_MINUTES: i16 = 14 * 60;

/// Whether an anchor means anything.
pub fn is_valid(anchor: &BillingAnchor) -> bool {
    (-MAX_UTC_OFFSET_MINUTES..=MAX_UTC_OFFSET_MINUTES).contains(&anchor.utc_offset_minutes)
}

/// The first moment of the `number`-th period after the anchor's own, or before it where negative; `None` beyond the
/// calendar.
///
/// It is the anchor's local day and time of day in that month; on the month's last day where the month lacks that day.
/// Counting from the anchor and not from the period before, the 31st comes back after a February.
pub fn boundary(anchor: &BillingAnchor, number: i32) -> Option<Timestamp> {
    let local = local(anchor, anchor.at)?;
    let months = months(local.date()).checked_add(number)?;
    let month = Month::January.nth_next(u8::try_from(months.rem_euclid(12)).ok()?);
    let year = months.div_euclid(12);
    let day = local.day().min(month.length(year));
    let date = Date::from_calendar_date(year, month, day).ok()?;
    let days = i64::from(date.to_julian_day()) - i64::from(local.to_julian_day());
    let micros = anchor.at.as_micros().checked_add(days.checked_mul(86_400_000_000)?)?;
    Some(Timestamp::from_micros(micros)).filter(|at| at.as_micros() == micros)
}

/// The period that holds a moment; `None` beyond the calendar.
pub fn holding(anchor: &BillingAnchor, at: Timestamp) -> Option<Period> {
    let guess = months(local(anchor, at)?.date()).checked_sub(months(local(anchor, anchor.at)?.date()))?;
    // The moment's own month, or the one before where that begins later in the month.
    (guess.checked_sub(1)?..=guess.checked_add(1)?).find_map(|number| {
        let (start, end) = (boundary(anchor, number)?, boundary(anchor, number.checked_add(1)?)?);
        (start <= at && at < end).then_some(Period { start, end })
    })
}

/// The period that follows one; `None` beyond the calendar. It starts where that one ends, and lasts until the anchor's
/// next boundary.
pub fn next(anchor: &BillingAnchor, after: Period) -> Option<Period> {
    Some(Period { start: after.end, end: holding(anchor, after.end)?.end })
}

/// Months since year 0.
fn months(date: Date) -> i32 {
    date.year() * 12 + i32::from(u8::from(date.month())) - 1
}

fn local(anchor: &BillingAnchor, at: Timestamp) -> Option<OffsetDateTime> {
    if !is_valid(anchor) {
        return None;
    }
    let shifted = at.as_seconds().checked_add(i64::from(anchor.utc_offset_minutes) * 60)?;
    OffsetDateTime::from_unix_timestamp(shifted).ok()
}

#[cfg(test)]
mod tests;
