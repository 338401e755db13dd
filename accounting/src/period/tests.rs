//! Month ends, leap years and time zones, by table.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn periods_begin_on_the_anchors_day() {
    let check = |anchor: &str, utc_offset_minutes, expected: &[&str]| {
        let anchor = BillingAnchor { at: at(anchor), utc_offset_minutes };
        let mut period = holding(&anchor, anchor.at).unwrap();
        assert_eq!(period.start, anchor.at);
        for (number, end) in (1..).zip(expected) {
            assert_eq!((period.end, boundary(&anchor, number)), (at(end), Some(at(end))), "{anchor:?}");
            assert_eq!(holding(&anchor, period.start), Some(period));
            assert_eq!(holding(&anchor, Timestamp::from_micros(period.end.as_micros() - 1)), Some(period));
            period = next(&anchor, period).unwrap();
        }
    };
    // The 31st: each month's own end, and it comes back. 2028 is a leap year, 2027 is not.
    check(
        "2027-01-31T10:00:00Z",
        0,
        &["2027-02-28T10:00:00Z", "2027-03-31T10:00:00Z", "2027-04-30T10:00:00Z", "2027-05-31T10:00:00Z"],
    );
    check("2027-12-31T00:00:00Z", 0, &["2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"]);
    check("2028-01-30T00:00:00Z", 0, &["2028-02-29T00:00:00Z", "2028-03-30T00:00:00Z"]);
    check("2028-02-29T00:00:00Z", 0, &["2028-03-29T00:00:00Z", "2028-04-29T00:00:00Z"]);
    check("2026-11-15T23:59:59.999999Z", 0, &["2026-12-15T23:59:59.999999Z", "2027-01-15T23:59:59.999999Z"]);
    // 2100 is no leap year.
    check("2100-01-31T00:00:00Z", 0, &["2100-02-28T00:00:00Z"]);
    // Midnight of the 1st in Kiribati (+14 h) is the morning of the last day of the month before, in UTC.
    check("2027-01-31T10:00:00Z", 840, &["2027-02-28T10:00:00Z", "2027-03-31T10:00:00Z", "2027-04-30T10:00:00Z"]);
    // The evening of the 31st at -14 h is the 1st of the next month in UTC; February's 28th there is March 1st here.
    check("2027-02-01T13:00:00Z", -840, &["2027-03-01T13:00:00Z", "2027-04-01T13:00:00Z", "2027-05-01T13:00:00Z"]);
    check("2028-02-01T13:00:00Z", -840, &["2028-03-01T13:00:00Z", "2028-04-01T13:00:00Z"]);
    // The same moment in UTC, by three calendars.
    check("2027-01-31T23:30:00Z", 0, &["2027-02-28T23:30:00Z", "2027-03-31T23:30:00Z"]);
    check("2027-01-31T23:30:00Z", 60, &["2027-02-28T23:30:00Z", "2027-03-31T23:30:00Z"]);
    check("2027-01-31T23:30:00Z", -60, &["2027-02-28T23:30:00Z", "2027-03-31T23:30:00Z"]);
    check("2027-01-30T23:30:00Z", 60, &["2027-02-27T23:30:00Z", "2027-03-30T23:30:00Z"]);
}

#[test]
fn what_is_no_calendar_is_refused() {
    let anchor = |text: &str, utc_offset_minutes| BillingAnchor { at: at(text), utc_offset_minutes };
    assert!(is_valid(&anchor("2027-01-01T00:00:00Z", 840)) && is_valid(&anchor("2027-01-01T00:00:00Z", -840)));
    for bad in [841, -841, i16::MAX, i16::MIN] {
        let anchor = anchor("2027-01-01T00:00:00Z", bad);
        assert!(!is_valid(&anchor));
        assert_eq!((boundary(&anchor, 1), holding(&anchor, anchor.at)), (None, None));
    }
    let last = anchor("9999-12-15T00:00:00Z", 0);
    assert_eq!((boundary(&last, 0), boundary(&last, 1), boundary(&last, i32::MAX)), (Some(last.at), None, None));
    assert_eq!(holding(&last, last.at), None);
    assert_eq!(boundary(&anchor("9999-12-31T23:00:00Z", 840), 0), None);
}

proptest! {
    /// Every moment is in exactly one period: its period's neighbours end and begin where it begins and ends.
    #[test]
    fn periods_tile_time(anchor in 0_i64..4_000_000_000, offset in -840_i16..=840, moment in 0_i64..4_000_000_000) {
        let anchor = BillingAnchor { at: Timestamp::from_micros(anchor * 1_000_000), utc_offset_minutes: offset };
        let moment = Timestamp::from_micros(moment * 1_000_000);
        let period = holding(&anchor, moment).unwrap();
        prop_assert!(period.start <= moment && moment < period.end);
        let days = (period.end.as_micros() - period.start.as_micros()) / 86_400_000_000;
        prop_assert!((28..=31).contains(&days), "{days}");
        let before = holding(&anchor, Timestamp::from_micros(period.start.as_micros() - 1)).unwrap();
        prop_assert_eq!(next(&anchor, before), Some(period));
    }
}
