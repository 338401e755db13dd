use proptest::prelude::*;
use schemas::api::RequestLimits;
use uuid::Uuid;

use super::*;

mod simulation;

const LIMITS: RequestLimits = RequestLimits { per_minute: 10, at_once: 4 };

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + millis * 1_000)
}

fn gateway(number: u128) -> (GatewayId, RunId) {
    (GatewayId(Uuid::from_u128(number)), RunId(Uuid::from_u128(number)))
}

fn claim(keep: u32, need: u32, wish: u32) -> ShareClaim {
    ShareClaim { keep, need, wish }
}

/// A message that asks for requests a minute alone; what it keeps is used, and leaves in a minute.
fn asks(seq: u64, per_minute: ShareClaim) -> ShareRequest {
    let mut leaving = Leaving::NONE;
    leaving.add(60_000, per_minute.keep);
    ShareRequest { seq, limits: LIMITS, per_minute, at_once: ShareClaim::default(), leaving, rests: false }
}

fn rests(seq: u64, leaving: &[(u64, u32)]) -> ShareRequest {
    let mut told = Leaving::NONE;
    for (in_millis, count) in leaving {
        told.add(*in_millis, *count);
    }
    let used = told.left_after(0);
    ShareRequest { leaving: told, rests: true, ..asks(seq, claim(used, used, used)) }
}

fn renew(shares: &mut RequestShares, millis: i64, number: u128, request: &ShareRequest) -> ShareGrant {
    let (gateway_id, run_id) = gateway(number);
    shares.renew(at(millis), gateway_id, run_id, request).expect("in order")
}

fn share(most: u32, fair: Option<u32>) -> Share {
    Share { most, fair }
}

#[test]
fn a_lone_gateway_gets_what_it_wishes_for_up_to_the_limit() {
    let check = |asked: ShareClaim, most: u32| {
        let granted = renew(&mut RequestShares::default(), 0, 1, &asks(1, asked));
        assert_eq!(granted.per_minute, share(most, None), "{asked:?}");
    };
    check(claim(0, 1, 5), 5);
    check(claim(0, 1, 10), 10);
    check(claim(0, 1, 100), 10);
    check(claim(9, 10, 20), 10);
    check(claim(10, 11, 20), 10);
    check(claim(3, 3, 3), 3);
    check(claim(3, 0, 0), 3);
}

#[test]
fn others_leave_what_they_have() {
    let mut shares = RequestShares::default();
    renew(&mut shares, 0, 1, &asks(1, claim(0, 4, 4)));
    // Of the six that are left, what is needed and an equal part of the rest.
    let second = renew(&mut shares, 0, 2, &asks(1, claim(0, 1, 9)));
    assert_eq!(second.per_minute, share(3, None));
    assert_eq!(renew(&mut shares, 0, 2, &asks(2, claim(3, 7, 7))).per_minute, share(3, None), "all or nothing");
    assert_eq!(renew(&mut shares, 0, 2, &asks(3, claim(3, 6, 6))).per_minute, share(6, None));
    // The first is told that the second wants more, and what would be fair.
    assert_eq!(renew(&mut shares, 0, 1, &asks(2, claim(4, 4, 4))).per_minute, share(4, Some(5)));
    assert_eq!(renew(&mut shares, 2_999, 1, &asks(3, claim(2, 2, 9))).per_minute, share(3, Some(5)));
    assert_eq!(renew(&mut shares, 3_000, 1, &asks(4, claim(2, 2, 9))).per_minute, share(3, None));
}

#[test]
fn what_is_fair_is_an_equal_part_of_what_the_others_do_not_want() {
    let check = |content: u32, wanting: u32, keep: u32, fair: Option<u32>| {
        let mut others = Others::default();
        others.add(content, true, false);
        (0..wanting).for_each(|_| others.add(1, true, true));
        assert_eq!(others.fair(10, keep), fair, "{content} {wanting} {keep}");
    };
    check(0, 0, 10, None);
    check(4, 0, 6, None);
    check(4, 0, 7, Some(6));
    check(0, 1, 9, Some(5));
    check(4, 1, 5, Some(3));
    check(0, 2, 8, Some(3));
    check(0, 10, 0, Some(0));
    check(12, 1, 0, Some(0));
}

#[test]
fn who_has_what_is_fair_leaves_the_rest_to_who_wants_it() {
    let check = |wanting: &[u32], asked: ShareClaim, most: u32| {
        let mut others = Others::default();
        wanting.iter().for_each(|has| others.add(*has, true, true));
        assert_eq!(others.grant(10, asked).most, most, "{wanting:?} {asked:?}");
    };
    check(&[0], claim(4, 5, 9), 5);
    check(&[0], claim(5, 6, 9), 5);
    check(&[4], claim(5, 6, 9), 5);
    check(&[5], claim(4, 5, 9), 5);
    // What no equal part has room for is the first one's that asks.
    check(&[3, 3], claim(3, 4, 9), 4);
    check(&[3, 2], claim(3, 4, 9), 4);
    check(&[2, 2], claim(3, 4, 9), 4);
    check(&[1, 2], claim(3, 4, 9), 4);
    check(&[3, 3], claim(4, 5, 9), 4);
}

#[test]
fn a_message_that_comes_after_a_later_one_changes_nothing() {
    let mut shares = RequestShares::default();
    renew(&mut shares, 0, 1, &asks(7, claim(0, 5, 5)));
    let before = shares.clone();
    let (gateway_id, run_id) = gateway(1);
    for seq in [1, 7] {
        assert_eq!(shares.renew(at(1), gateway_id, run_id, &asks(seq, claim(0, 0, 0))), None);
        assert_eq!(shares, before);
    }
}

#[test]
fn a_share_that_is_not_renewed_counts_until_all_of_it_has_left() {
    let check = |millis: i64, most: u32| {
        let mut shares = RequestShares::default();
        renew(&mut shares, 0, 1, &asks(1, claim(0, 10, 10)));
        assert_eq!(renew(&mut shares, millis, 2, &asks(1, claim(0, 1, 10))).per_minute.most, most, "{millis} ms");
    };
    check(9_999, 0);
    check(69_999, 0);
    check(70_000, 10);
}

#[test]
fn what_a_resting_gateway_admitted_leaves_without_a_word() {
    let mut shares = RequestShares::default();
    renew(&mut shares, 0, 1, &rests(1, &[(5_000, 4), (20_000, 6)]));
    let mut seq = 0;
    let mut check = |millis: i64, most: u32, retry_after_ms: Option<u64>| {
        seq += 1;
        let granted = renew(&mut shares, millis, 2, &asks(seq, claim(0, 1, 10)));
        assert_eq!(granted.per_minute.most, most, "{millis} ms");
        assert_eq!((granted.per_minute.most == 0).then_some(granted.retry_after_ms), retry_after_ms, "{millis} ms");
    };
    check(0, 0, Some(5_000));
    check(4_999, 0, Some(1));
    check(5_000, 4, None);
    check(20_000, 10, None);
    assert_eq!(shares.runs.len(), 1, "the first is forgotten");
}

#[test]
fn who_has_to_wait_is_told_for_how_long() {
    let check = |first: ShareRequest, heard: i64, need: u32, retry_after_ms: u64| {
        let mut shares = RequestShares::default();
        renew(&mut shares, 0, 1, &first);
        let granted = renew(&mut shares, heard, 2, &asks(1, claim(0, need, need)));
        assert_eq!((granted.per_minute.most, granted.retry_after_ms), (0, retry_after_ms), "{first:?}");
    };
    let used = |seconds: u64| {
        let mut leaving = Leaving::NONE;
        leaving.add(seconds * 1_000, 8);
        ShareRequest { leaving, ..asks(1, claim(8, 8, 8)) }
    };
    check(used(40), 2_500, 3, 37_500);
    // One that is alive gives back what it does not use.
    check(asks(1, claim(0, 10, 10)), 100, 1, 1_000);
    // One that is not may have used it last when its share ended.
    check(asks(1, claim(0, 10, 10)), 30_000, 1, 40_000);
    // More than the limit never comes.
    check(used(40), 0, 11, 60_000);
}

#[test]
fn what_others_admitted_is_told() {
    let mut shares = RequestShares::default();
    renew(&mut shares, 0, 1, &rests(1, &[(5_000, 4), (20_000, 2)]));
    let check = |shares: &RequestShares, millis: i64, elsewhere: u32, leaves_ms: u64| {
        let granted = renew(&mut shares.clone(), millis, 2, &asks(1, claim(0, 0, 0)));
        assert_eq!((granted.elsewhere, granted.elsewhere_leaves_ms), (elsewhere, leaves_ms), "{millis} ms");
    };
    check(&shares, 1_000, 6, 19_000);
    check(&shares, 5_000, 2, 15_000);
    check(&shares, 20_000, 0, 0);
}

#[test]
fn requests_at_once_of_an_earlier_run_are_over_when_the_next_is_heard_of() {
    let running = |at_once: ShareClaim| ShareRequest { at_once, ..asks(1, claim(0, 0, 0)) };
    let mut shares = RequestShares::default();
    assert_eq!(renew(&mut shares, 0, 1, &running(claim(0, 4, 4))).at_once.most, 4);
    assert_eq!(renew(&mut shares, 1, 2, &running(claim(0, 1, 4))).at_once, share(0, None));
    let (gateway_id, _) = gateway(1);
    let next = shares.renew(at(2), gateway_id, RunId(Uuid::from_u128(9)), &running(claim(0, 1, 4)));
    assert_eq!(next.expect("in order").at_once.most, 1);
    assert_eq!(renew(&mut shares, 3, 3, &running(claim(0, 3, 3))).at_once.most, 3);
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up_for_long() {
    let mut shares = RequestShares::default();
    renew(&mut shares, 3_600_000, 1, &asks(1, claim(0, 10, 10)));
    let mut check = |seq: u64, millis: i64, most: u32| {
        assert_eq!(renew(&mut shares, millis, 2, &asks(seq, claim(0, 1, 1))).per_minute.most, most, "{millis} ms");
    };
    check(1, 0, 0);
    check(2, 69_999, 0);
    check(3, 70_000, 1);
}

#[test]
fn the_document_is_read_as_it_was_written() {
    let mut shares = RequestShares::default();
    renew(&mut shares, 0, 1, &asks(1, claim(3, 10, 10)));
    renew(&mut shares, 0, 2, &asks(1, claim(0, 1, 1)));
    let document = shares.to_document().unwrap();
    assert_eq!(RequestShares::from_document(&document).unwrap(), shares);
    let run = "00000000-0000-0000-0000-000000000002";
    let second = format!(
        "\"{run}\":{{\"gateway_id\":\"{run}\",\"seq\":1,\"heard_at\":\"2027-01-15T08:00:00.000000Z\",\"per_minute\":0,\
         \"at_once\":0,\"leaving\":[],\"rests\":false,\"minute_wanted_at\":\"2027-01-15T08:00:00.000000Z\",\
         \"at_once_wanted_at\":null}}"
    );
    assert!(document.contains(&second), "{document}");
    assert!(RequestShares::from_document("{}").is_err());
    assert!(RequestShares::default().is_empty() && !shares.is_empty());
}
