use schemas::Usd;
use uuid::Uuid;

use super::*;
use crate::fixtures::{ACCOUNT, view};

const SENDER: Sender = Sender { gateway_id: GatewayId(Uuid::from_u128(2)), run_id: RunId(Uuid::from_u128(3)) };
const LEASE: LeaseId = LeaseId(Uuid::from_u128(4));
const TTL_MS: u64 = 10_000;

fn usd(text: &str) -> Funds {
    Funds { usd: text.parse().unwrap(), plan_tokens: 0 }
}

#[expect(clippy::unnecessary_wraps, reason = "what a ledger answers")]
fn grant(request: &LeaseRequest, granted: Funds) -> Result<LeaseGrant, LedgerError> {
    Ok(LeaseGrant {
        lease_id: request.lease_id,
        seq: request.seq,
        granted,
        ttl_ms: TTL_MS,
        tight: !granted.covers(request.wish),
        free: Funds::ZERO,
        idle_elsewhere: Funds::ZERO,
        account: view(0),
        requests: None,
    })
}

fn ask(book: &mut Book, now: Instant, need: &str) -> Option<LeaseRequest> {
    book.ask(now, SENDER, ACCOUNT, LEASE, usd(need))
}

/// A book that was granted so much just now.
fn granted(now: Instant, amount: &str) -> Book {
    let mut book = Book::default();
    let request = ask(&mut book, now, "1").unwrap();
    book.answered(now, &request, &grant(&request, usd(amount)));
    book
}

#[test]
fn messages_say_what_is_used_and_ask_for_more() {
    let now = Instant::now();
    let mut book = Book::default();
    assert!(book.is_empty() && book.available(now) == Funds::ZERO && book.take(now, usd("1")).is_none());
    let first = ask(&mut book, now, "1").unwrap();
    assert_eq!((first.seq, first.spent, first.ceiling, first.close), (1, Funds::ZERO, Funds::ZERO, false));
    assert_eq!((first.need, first.wish), (usd("1"), usd("4")));
    assert!(ask(&mut book, now, "1").is_none(), "one message at a time");
    book.answered(now, &first, &grant(&first, usd("4")));
    let (a, b) = (book.take(now, usd("1")).unwrap(), book.take(now, usd("1")).unwrap());
    book.charge(&a, usd("0.25"));
    assert_eq!((book.available(now), book.held()), (usd("2.75"), usd("1")));
    // Spent 0.25, held 1, and half of the idle 2.75 is kept.
    let second = ask(&mut book, now, "1").unwrap();
    assert_eq!((second.seq, second.spent, second.ceiling), (2, usd("0.25"), usd("2.625")));
    assert_eq!((second.need, second.wish), (usd("2.625"), usd("8.25")));
    assert_eq!(book.available(now), usd("1.375"), "what was given back can't be used meanwhile");
    book.answered(now, &second, &grant(&second, usd("6")));
    book.release(&b);
    assert_eq!(book.available(now), usd("5.75"));
}

#[test]
fn nothing_is_taken_that_is_not_there() {
    let now = Instant::now();
    let mut book = granted(now, "2");
    assert!(book.take(now, usd("2.000000000001")).is_none());
    let all = book.take(now, usd("2")).unwrap();
    assert!(book.take(now, usd("0.000000000001")).is_none());
    assert!(book.take(now, Funds { usd: Usd::ZERO, plan_tokens: 1 }).is_none());
    book.charge(&all, usd("2"));
    assert_eq!(book.available(now), Funds::ZERO);
}

#[test]
fn requests_are_admitted_until_the_lease_is_too_old() {
    let sent = Instant::now();
    let mut book = Book::default();
    let request = ask(&mut book, sent, "1").unwrap();
    let answered = sent + Duration::from_secs(4);
    book.answered(answered, &request, &grant(&request, usd("4")));
    // From the sending of the message on: nobody knows how long the answer took.
    assert_eq!(book.available(sent + Duration::from_millis(TTL_MS - 1)), usd("4"));
    assert_eq!(book.available(sent + Duration::from_millis(TTL_MS)), Funds::ZERO);
    // Old, it can be renewed as ever.
    let late = sent + Duration::from_hours(1);
    let request = ask(&mut book, late, "1").unwrap();
    assert_eq!((request.lease_id, request.seq), (LEASE, 2));
    book.answered(late, &request, &grant(&request, usd("2")));
    assert_eq!(book.available(late), usd("2"));
}

#[test]
fn an_answer_that_is_not_to_the_last_message_changes_nothing() {
    let now = Instant::now();
    let mut book = Book::default();
    let first = ask(&mut book, now, "1").unwrap();
    let away = LedgerError::Unavailable("away".into());
    assert_eq!(book.answered(now, &first, &Err(away)), Told { short: true, free: Funds::ZERO, more_elsewhere: true });
    let second = ask(&mut book, now, "1").unwrap();
    assert_eq!((second.lease_id, second.seq, second.ceiling), (LEASE, 2, Funds::ZERO));
    book.answered(now, &first, &grant(&first, usd("9")));
    assert_eq!(book.available(now), Funds::ZERO);
    assert!(book.is_asking());
    book.answered(now, &second, &grant(&second, usd("3")));
    assert_eq!(book.available(now), usd("3"));
}

#[test]
fn closing_says_all_that_was_spent() {
    let now = Instant::now();
    let mut book = granted(now, "4");
    let taken = book.take(now, usd("1")).unwrap();
    assert!(book.close(now, SENDER, ACCOUNT).is_none(), "something runs");
    book.charge(&taken, usd("0.5"));
    let close = book.close(now, SENDER, ACCOUNT).unwrap();
    assert!(close.close);
    assert_eq!((close.seq, close.spent, close.ceiling), (2, usd("0.5"), usd("0.5")));
    assert_eq!(book.available(now), Funds::ZERO);
    // Not heard, or not by the ledger: the lease may be there or not; no more is admitted on it than is granted anew.
    book.answered(now, &close, &Err(LedgerError::Unavailable("away".into())));
    assert_eq!(book.available(now), Funds::ZERO);
    let close = book.close(now, SENDER, ACCOUNT).unwrap();
    book.answered(now, &close, &grant(&close, usd("0.5")));
    assert!(book.is_empty());
    let fresh = LeaseId(Uuid::from_u128(5));
    let next = book.ask(now, SENDER, ACCOUNT, fresh, usd("1")).unwrap();
    assert_eq!((next.lease_id, next.seq, next.spent), (fresh, 1, Funds::ZERO));
}

#[test]
fn a_lost_lease_is_used_no_more() {
    let now = Instant::now();
    let mut book = granted(now, "4");
    let (a, b) = (book.take(now, usd("1")).unwrap(), book.take(now, usd("1")).unwrap());
    let request = ask(&mut book, now, "1").unwrap();
    let unknown = Refusal::UnknownLease { lease_id: LEASE, account_id: ACCOUNT };
    book.answered(now, &request, &Err(LedgerError::Refused(unknown)));
    assert_eq!(book.available(now), Funds::ZERO);
    assert!(ask(&mut book, now, "1").is_none(), "what runs on it ends first");
    book.charge(&a, usd("1"));
    assert!(ask(&mut book, now, "1").is_none());
    book.release(&b);
    let fresh = LeaseId(Uuid::from_u128(5));
    let next = book.ask(now, SENDER, ACCOUNT, fresh, usd("1")).unwrap();
    assert_eq!((next.lease_id, next.seq, next.spent, next.ceiling), (fresh, 1, Funds::ZERO, Funds::ZERO));
}

#[test]
fn near_the_end_what_is_idle_goes_back_at_once() {
    let now = Instant::now();
    let mut book = Book::default();
    let request = ask(&mut book, now, "1").unwrap();
    book.answered(now, &request, &grant(&request, usd("1.5")));
    let taken = book.take(now, usd("1")).unwrap();
    let request = ask(&mut book, now, "1").unwrap();
    book.answered(now, &request, &grant(&request, usd("1.5")));
    assert!(book.is_hoarding() && !book.is_low(now));
    book.charge(&taken, usd("0.25"));
    let back = ask(&mut book, now, "0").unwrap();
    assert_eq!((back.spent, back.ceiling, back.need), (usd("0.25"), usd("0.25"), usd("0.25")));
    book.answered(now, &back, &grant(&back, usd("0.25")));
    assert!(!book.is_hoarding(), "there is nothing to give back");
}

#[test]
fn leases_that_do_not_last_grow_and_others_shrink() {
    let mut now = Instant::now();
    let mut book = Book::default();
    let mut wishes = Vec::new();
    for _ in 0..4 {
        let request = ask(&mut book, now, "1").unwrap();
        wishes.push(request.wish.less(request.spent).less(usd("1")).usd.to_string());
        book.answered(now, &request, &grant(&request, request.wish));
        while let Some(taken) = book.take(now, usd("1")) {
            book.charge(&taken, usd("1"));
        }
        assert!(book.is_low(now));
        now += Duration::from_millis(100);
    }
    assert_eq!(wishes, ["3", "6", "12", "24"]);
    now += Duration::from_mins(1);
    let request = ask(&mut book, now, "1").unwrap();
    assert_eq!(
        request.wish.less(request.spent).less(usd("1")),
        usd("24"),
        "25 in a minute, twice: no more than before"
    );
    book.answered(now, &request, &grant(&request, request.wish));
    now += Duration::from_mins(1);
    let request = ask(&mut book, now, "1").unwrap();
    // Nothing was taken: 3 of them, or the half of what was idle that is kept.
    assert_eq!(request.wish, request.ceiling);
}

/// Whoever waits polls, and a slow ledger must not make that a larger and larger wish.
#[test]
fn only_what_is_sent_makes_the_wish_grow() {
    let now = Instant::now();
    let mut book = granted(now, "4");
    let sent = ask(&mut book, now, "1").unwrap();
    for _ in 0..100 {
        assert!(ask(&mut book, now, "1").is_none());
    }
    book.answered(now, &sent, &grant(&sent, sent.wish));
    let next = ask(&mut book, now, "1").unwrap();
    assert_eq!(next.wish.less(next.spent).less(usd("1")), usd("12"));
    // Nor does doubling ever leave the range of money.
    for _ in 0..100 {
        book.answered(now, &next, &Err(LedgerError::Unavailable("away".into())));
        let Some(next) = ask(&mut book, now, "1") else { break };
        assert!(next.wish.usd.in_range(), "{:?}", next.wish);
        book.answered(now, &next, &grant(&next, next.wish));
    }
}

/// A refusal that does not say that the lease is gone leaves it as it is.
#[test]
fn a_message_that_is_refused_for_itself_loses_nothing() {
    let now = Instant::now();
    let mut book = granted(now, "4");
    let request = ask(&mut book, now, "1").unwrap();
    let refusal = Refusal::Invalid { field: "lease".into(), detail: "d".into() };
    book.answered(now, &request, &Err(LedgerError::Refused(refusal)));
    assert!(!book.is_lost() && book.available(now) == usd("2"));
}

#[test]
fn times_to_renew_and_to_close() {
    let now = Instant::now();
    let (every, after) = (Duration::from_secs(1), Duration::from_secs(5));
    let mut book = granted(now, "4");
    let later = now + every;
    assert!(!book.is_due(later, every), "nobody uses it");
    let taken = book.take(now, usd("1")).unwrap();
    assert!(!book.is_due(now, every) && book.is_due(later, every));
    assert!(!book.is_stale(now + after, after), "something runs");
    book.release(&taken);
    assert!(!book.is_stale(now, after) && book.is_stale(now + after, after));
}
