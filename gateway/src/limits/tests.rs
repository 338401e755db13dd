//! The window against exact times, and against a reference that remembers every request.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { per_minute: 3, in_flight: 2 };

fn standing(remaining: u32, reset_seconds: u64) -> Standing {
    Standing { limit: 3, remaining, reset_seconds }
}

#[test]
fn waiting_is_right_to_the_second() {
    let began = Instant::now();
    let mut limiter = Limiter::default();
    let mut check = |at_ms: u64, expected: Result<(), u64>, after: Standing| {
        let now = began + Duration::from_millis(at_ms);
        let admitted = limiter.admit(now, LIMITS);
        let expected = expected.map_err(|retry_after_seconds| TooMany::InAMinute { limit: 3, retry_after_seconds });
        assert_eq!(admitted, expected, "at {at_ms} ms");
        if admitted.is_ok() {
            limiter.ended();
        }
        assert_eq!(limiter.standing(now, LIMITS), after, "at {at_ms} ms");
    };
    check(0, Ok(()), standing(2, 60));
    check(10_000, Ok(()), standing(1, 60));
    check(20_500, Ok(()), standing(0, 60));
    check(20_501, Err(40), standing(0, 60));
    check(59_000, Err(1), standing(0, 22));
    check(59_999, Err(1), standing(0, 21));
    check(60_000, Ok(()), standing(0, 60));
    check(60_000, Err(10), standing(0, 60));
    check(69_999, Err(1), standing(0, 51));
    check(70_000, Ok(()), standing(0, 60));
    check(200_000, Ok(()), standing(2, 60));
}

#[test]
fn what_runs_is_bounded_whatever_the_minute_allows() {
    let now = Instant::now();
    let mut limiter = Limiter::default();
    assert_eq!(limiter.admit(now, LIMITS), Ok(()));
    assert_eq!(limiter.admit(now, LIMITS), Ok(()));
    assert_eq!(limiter.admit(now, LIMITS), Err(TooMany::AtOnce { limit: 2, retry_after_seconds: 1 }));
    assert_eq!(limiter.standing(now, LIMITS), standing(1, 60));
    assert!(!limiter.is_idle(now + Duration::from_secs(61)));
    limiter.ended();
    assert_eq!(limiter.admit(now, LIMITS), Ok(()));
    limiter.ended();
    limiter.ended();
    assert!(!limiter.is_idle(now + Duration::from_millis(59_999)));
    assert!(limiter.is_idle(now + Duration::from_mins(1)));
}

#[test]
fn a_limit_of_zero_admits_nothing_and_names_a_wait() {
    let limits = Limits { per_minute: 0, in_flight: 1 };
    let refused = Limiter::default().admit(Instant::now(), limits);
    assert_eq!(refused, Err(TooMany::InAMinute { limit: 0, retry_after_seconds: 60 }));
}

#[test]
fn a_busy_account_takes_bounded_memory() {
    let began = Instant::now();
    let limits = Limits { per_minute: u32::MAX, in_flight: u32::MAX };
    let mut limiter = Limiter::default();
    for at_ms in 0..70_000 {
        for _ in 0..5 {
            limiter.admit(began + Duration::from_millis(at_ms), limits).unwrap();
        }
    }
    assert_eq!(limiter.used, 300_000);
    assert!(limiter.admitted.len() <= 6_001, "{}", limiter.admitted.len());
}

proptest! {
    /// Requests at any times: never more than the limit within any 60 seconds, and where requests are further apart than
    /// what is kept as one, exactly what the reference admits.
    #[test]
    fn the_window_agrees_with_remembering_everything(gaps_ms in vec(0_u64..4_000, 1..200), limit in 0_u32..30) {
        let limits = Limits { per_minute: limit, in_flight: u32::MAX };
        let began = Instant::now();
        let (mut limiter, mut naive, mut now) = (Limiter::default(), Vec::<Instant>::new(), began);
        let spread = gaps_ms.iter().all(|gap| *gap >= 10);
        for gap in gaps_ms {
            now += Duration::from_millis(gap);
            let within = naive.iter().filter(|at| now.duration_since(**at) < WINDOW).count();
            let admitted = limiter.admit(now, limits).is_ok();
            if admitted {
                prop_assert!(within < limit as usize);
                naive.push(now);
            } else if spread {
                prop_assert!(within >= limit as usize);
            }
        }
    }
}
