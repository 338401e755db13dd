//! What is due, and when. Pure: time is an input.

use schemas::{Month, Timestamp};

use crate::store::Invoiced;

/// How long after its end a month is invoiced, in microseconds. Gateways that could not reach the log for a while have
/// most likely written what they held by then; what comes later is on the next invoice.
const GRACE_MICROS: i64 = 3_600_000_000;

/// The month that the account's next invoice closes; none where it has nothing to be invoiced. It is the month of the
/// first entry that is on no invoice yet, or, for what came late, the one after the last that was invoiced.
pub(super) fn month(account: &Invoiced) -> Option<Month> {
    let held = Month::holding(account.open_since?);
    Some(account.last.map_or(held, |(_, last)| held.max(last.next())))
}

/// The last month that is over, grace included; none in the calendar's first.
pub(super) fn last_over(now: Timestamp) -> Option<Month> {
    Month::holding(Timestamp::from_micros(now.as_micros().saturating_sub(GRACE_MICROS))).previous()
}

#[cfg(test)]
mod tests {
    use schemas::{AccountId, Offset, PartitionId};

    use super::*;

    #[test]
    fn an_account_s_next_month() {
        let check = |last: Option<&str>, open_since: Option<&str>, expected: Option<&str>| {
            let account = Invoiced {
                account_id: AccountId::OPERATOR,
                partition: PartitionId(0),
                last: last.map(|month| (Offset(7), month.parse().unwrap())),
                open_since: open_since.map(|time| time.parse().unwrap()),
            };
            assert_eq!(month(&account), expected.map(|month| month.parse().unwrap()), "{account:?}");
        };
        check(None, None, None);
        check(Some("2026-09"), None, None);
        check(None, Some("2026-09-30T23:59:59.999999Z"), Some("2026-09"));
        check(Some("2026-08"), Some("2026-09-30T23:59:59.999999Z"), Some("2026-09"));
        check(Some("2026-08"), Some("2026-12-01T00:00:00Z"), Some("2026-12"));
        check(Some("2026-09"), Some("2026-09-30T23:59:59.999999Z"), Some("2026-10"));
        check(Some("2026-12"), Some("2025-01-01T00:00:00Z"), Some("2027-01"));
    }

    #[test]
    fn a_month_is_over_an_hour_after_its_end() {
        let check = |now: &str, expected: Option<&str>| {
            let expected = expected.map(|month| month.parse().unwrap());
            assert_eq!(last_over(now.parse().unwrap()), expected, "{now}");
        };
        check("2026-11-01T00:00:00Z", Some("2026-09"));
        check("2026-11-01T00:59:59.999999Z", Some("2026-09"));
        check("2026-11-01T01:00:00Z", Some("2026-10"));
        check("2026-11-30T23:59:59Z", Some("2026-10"));
        check("2027-01-01T01:00:00Z", Some("2026-12"));
        check("2028-03-01T01:00:00Z", Some("2028-02"));
        check("0000-01-31T00:00:00Z", None);
    }
}
