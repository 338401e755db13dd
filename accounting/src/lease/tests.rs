use schemas::{AccountId, GatewayId, LeaseId, RunId};
use uuid::Uuid;

use super::*;

mod simulation;

fn funds(usd: &str, plan_tokens: u64) -> Funds {
    Funds { usd: usd.parse().unwrap(), plan_tokens }
}

fn request(seq: u64, spent: Funds, ceiling: Funds, need: Funds, wish: Funds) -> LeaseRequest {
    LeaseRequest {
        account_id: AccountId(Uuid::nil()),
        lease_id: LeaseId(Uuid::nil()),
        gateway_id: GatewayId(Uuid::nil()),
        run_id: RunId(Uuid::nil()),
        seq,
        spent,
        ceiling,
        need,
        wish,
        close: false,
        requests: None,
    }
}

#[test]
fn a_grant_is_the_need_and_a_share_of_the_rest() {
    let check = |has: Funds, elsewhere: Funds, need: Funds, wish: Funds, granted: Funds| {
        let pool = Pool { funds: has, reserved_elsewhere: elsewhere };
        let opened = renew(&pool, None, &request(1, Funds::ZERO, Funds::ZERO, need, wish)).unwrap();
        assert_eq!(opened, Lease { seq: 1, granted, ..Lease::default() }, "{pool:?} {need:?} {wish:?}");
    };
    let none = Funds::ZERO;
    check(funds("100", 400), none, funds("1", 10), funds("8", 80), funds("8", 80));
    check(funds("100", 400), none, funds("1", 10), funds("80", 800), funds("25", 100));
    check(funds("100", 400), none, funds("30", 300), funds("80", 800), funds("30", 300));
    check(funds("100", 400), funds("80", 400), funds("1", 0), funds("80", 800), funds("5", 0));
    // Less than what is needed is of no use.
    check(funds("2", 0), none, funds("3", 10), funds("80", 800), none);
    check(funds("5", 9), none, funds("3", 10), funds("80", 800), none);
    check(funds("5", 10), none, funds("3", 10), funds("80", 800), funds("3", 10));
    check(funds("2", 0), funds("2", 0), funds("3", 10), funds("80", 800), none);
    // After a refund there may be less than leases have.
    check(funds("1", 0), funds("2", 5), funds("3", 10), funds("80", 800), none);
    check(none, none, funds("3", 10), funds("80", 800), none);
    check(funds("100", 0), none, none, none, none);
}

#[test]
fn the_first_message_that_arrives_opens_a_lease() {
    let pool = Pool { funds: funds("100", 0), reserved_elsewhere: Funds::ZERO };
    let need = funds("1", 0);
    let opened = renew(&pool, None, &request(3, Funds::ZERO, Funds::ZERO, need, need)).unwrap();
    assert_eq!(opened, Lease { seq: 3, granted: need, ..Lease::default() });
    let late = request(1, Funds::ZERO, Funds::ZERO, need, need);
    assert_eq!(renew(&pool, Some(&opened), &late), Err(Refused::Stale));
}

#[test]
fn a_lease_gives_back_what_is_above_its_ceiling() {
    let pool = Pool { funds: funds("10", 100), reserved_elsewhere: funds("4", 0) };
    let before =
        Lease { seq: 7, granted: funds("6", 60), spent: funds("1", 10), posted: funds("1", 10), closed: false };
    let check = |spent: Funds, ceiling: Funds, need: Funds, granted: Funds| {
        let after = renew(&pool, Some(&before), &request(8, spent, ceiling, need, need)).unwrap();
        assert_eq!(after, Lease { seq: 8, granted, spent, ..before }, "{spent:?} {ceiling:?} {need:?}");
    };
    let spent = funds("2", 20);
    check(spent, funds("3", 30), Funds::ZERO, funds("3", 30));
    check(spent, funds("3", 30), funds("5", 50), funds("5", 50));
    // Reserved elsewhere 4, posted here 1: 10 - 4 is there beyond what posted, so the lease can have 7 in all.
    check(spent, funds("3", 30), funds("7", 110), funds("7", 110));
    check(spent, funds("3", 30), funds("7.1", 110), funds("3", 30));
    check(spent, funds("6", 60), Funds::ZERO, funds("6", 60));
    // After a refund nothing is taken away that the gateway may have spent.
    let poor = Pool { funds: funds("0.5", 0), reserved_elsewhere: Funds::ZERO };
    let after =
        renew(&poor, Some(&before), &request(8, spent, funds("3", 30), funds("9", 90), funds("9", 90))).unwrap();
    assert_eq!(after.granted, funds("3", 30));
}

#[test]
fn what_is_reserved_and_what_may_come_back() {
    let check = |spent: Funds, posted: Funds, reserved: Funds, idle: Funds| {
        let lease = Lease { seq: 1, granted: funds("6", 60), spent, posted, closed: false };
        assert_eq!((lease.reserved(), lease.idle()), (reserved, idle), "{spent:?} {posted:?}");
    };
    check(Funds::ZERO, Funds::ZERO, funds("6", 60), funds("6", 60));
    check(funds("2", 20), Funds::ZERO, funds("6", 60), funds("4", 40));
    check(funds("2", 20), funds("1", 10), funds("5", 50), funds("4", 40));
    // What the gateway told is older than what has posted.
    check(funds("1", 20), funds("2", 10), funds("4", 50), funds("4", 40));
    check(funds("6", 60), funds("6", 60), Funds::ZERO, Funds::ZERO);
}

#[test]
fn what_is_left_to_grant_is_what_no_lease_reserves() {
    let check = |has: Funds, elsewhere: Funds, lease: Lease, left: Funds| {
        let pool = Pool { funds: has, reserved_elsewhere: elsewhere };
        assert_eq!(free(&pool, &lease), left, "{pool:?} {lease:?}");
    };
    let lease = Lease { seq: 1, granted: funds("6", 60), posted: funds("1", 10), ..Lease::default() };
    check(funds("20", 200), funds("4", 40), lease, funds("11", 110));
    check(funds("20", 200), funds("4", 40), Lease::default(), funds("16", 160));
    check(funds("8", 200), funds("4", 180), lease, Funds::ZERO);
}

#[test]
fn a_closed_lease_keeps_what_is_still_to_post() {
    let before = Lease { seq: 2, granted: funds("6", 60), spent: Funds::ZERO, posted: funds("1", 10), closed: false };
    let spent = funds("2", 20);
    let close = LeaseRequest { close: true, ..request(3, spent, spent, Funds::ZERO, Funds::ZERO) };
    let closed = renew(&Pool::default(), Some(&before), &close).unwrap();
    assert_eq!((closed.granted, closed.reserved(), closed.idle()), (spent, funds("1", 10), Funds::ZERO));
    assert!(closed.closed && !closed.is_done() && closed.seq == 3);
    assert!(Lease { posted: spent, ..closed }.is_done());
    assert!(!Lease { closed: false, posted: spent, ..closed }.is_done());
}

#[test]
fn what_no_gateway_says_changes_nothing() {
    let pool = Pool { funds: funds("100", 100), reserved_elsewhere: Funds::ZERO };
    let open = Lease { seq: 5, granted: funds("6", 60), spent: funds("2", 20), posted: Funds::ZERO, closed: false };
    let check = |lease: Option<&Lease>, request: LeaseRequest, refused: Refused| {
        assert_eq!(renew(&pool, lease, &request), Err(refused), "{request:?}");
    };
    let spent = funds("2", 20);
    let fine = request(6, spent, spent, Funds::ZERO, Funds::ZERO);
    assert!(renew(&pool, Some(&open), &fine).is_ok());
    check(None, fine, Refused::Unknown);
    check(Some(&Lease { closed: true, ..open }), fine, Refused::Unknown);
    check(Some(&open), LeaseRequest { seq: 5, ..fine }, Refused::Stale);
    check(Some(&open), LeaseRequest { seq: 1, ..fine }, Refused::Stale);
    check(None, LeaseRequest { seq: 1, ..fine }, Refused::Unknown);
    check(
        None,
        LeaseRequest { close: true, ..request(1, Funds::ZERO, Funds::ZERO, Funds::ZERO, Funds::ZERO) },
        Refused::Unknown,
    );
    check(Some(&open), LeaseRequest { ceiling: funds("6.1", 20), ..fine }, Refused::Impossible);
    check(Some(&open), LeaseRequest { ceiling: funds("2", 61), ..fine }, Refused::Impossible);
    check(Some(&open), LeaseRequest { spent: funds("2.1", 20), ..fine }, Refused::Impossible);
    check(Some(&open), LeaseRequest { spent: funds("1.9", 20), ..fine }, Refused::Impossible);
    check(Some(&open), LeaseRequest { spent: funds("2", 19), ..fine }, Refused::Impossible);
    check(Some(&open), LeaseRequest { need: funds("-1", 0), ..fine }, Refused::Impossible);
    check(Some(&open), LeaseRequest { wish: funds("-1", 0), ..fine }, Refused::Impossible);
    check(Some(&open), LeaseRequest { close: true, ceiling: funds("3", 20), ..fine }, Refused::Impossible);
}
