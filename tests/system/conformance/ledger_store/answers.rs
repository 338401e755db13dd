//! Answers that are kept for a repeat, which are no projection.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::{ClaimTimes, Store};
use schemas::api::{AnswerEnded, ClaimAnswer, Claimed, Sealed};
use schemas::{AccountId, AnswerId, RequestId, Timestamp};
use uuid::Uuid;

use super::stage::Stage;

/// Claims end so long after they were made, and answers so much later.
const HELD: i64 = 10;
const KEPT: i64 = 100;

fn at(time: i64) -> Timestamp {
    Timestamp::from_micros(time)
}

fn request(n: u128) -> RequestId {
    RequestId(Uuid::from_u128(n))
}

fn answer(n: u128) -> AnswerId {
    AnswerId(Uuid::from_u128(n))
}

fn sealed(text: &str) -> Sealed {
    Sealed(text.as_bytes().to_vec())
}

/// A claim of answer 1, of account 1, for body 1.
fn claim_by(holder: u128) -> ClaimAnswer {
    ClaimAnswer {
        answer_id: answer(1),
        account_id: AccountId(Uuid::from_u128(1)),
        fingerprint: Uuid::from_u128(1),
        holder: request(holder),
        hold_ms: 1,
    }
}

async fn claim(store: &Arc<dyn Store>, claim: ClaimAnswer, now: i64) -> Claimed {
    let times = ClaimTimes { now: at(now), held_until: at(now + HELD), expires_at: at(now + KEPT) };
    store.claim_answer(&claim, times).await.unwrap()
}

fn yours(n: u128) -> Claimed {
    Claimed::Yours { request_id: request(n) }
}

pub(super) async fn an_answer_is_claimed_held_kept_and_given_again(stage: Stage) {
    let store = &stage.store;
    assert_eq!(claim(store, claim_by(1), 0).await, yours(1));
    assert_eq!(
        claim(store, claim_by(1), 5).await,
        yours(1),
        "a claim whose answer was lost on its way is the same claim"
    );
    assert_eq!(claim(store, claim_by(2), 9).await, Claimed::Running);
    let other_body = ClaimAnswer { fingerprint: Uuid::from_u128(2), ..claim_by(2) };
    assert_eq!(claim(store, other_body, 9).await, Claimed::OtherBody);
    assert!(store.hold_answer(answer(1), request(1), at(30)).await.unwrap());
    assert!(!store.hold_answer(answer(1), request(2), at(99)).await.unwrap());
    assert!(!store.hold_answer(answer(2), request(1), at(99)).await.unwrap());
    assert_eq!(claim(store, claim_by(2), 29).await, Claimed::Running);
    let text = Sealed((0..=255).collect());
    assert_eq!(store.keep_answer(answer(1), request(2), &text, 999).await.unwrap(), AnswerEnded::Lost);
    assert_eq!(store.keep_answer(answer(1), request(1), &text, 999).await.unwrap(), AnswerEnded::Done);
    let kept = Claimed::Kept { request_id: request(1), holder: request(1), sealed: text.clone() };
    assert_eq!(claim(store, claim_by(2), 31).await, kept);
    assert_eq!(claim(store, other_body, 31).await, Claimed::OtherBody);
    // What is kept is not changed by whoever made it.
    assert!(!store.hold_answer(answer(1), request(1), at(99)).await.unwrap());
    assert_eq!(store.keep_answer(answer(1), request(1), &sealed("x"), 999).await.unwrap(), AnswerEnded::Lost);
    assert_eq!(store.keep_no_answer(answer(1), request(1)).await.unwrap(), AnswerEnded::Lost);
    assert_eq!(store.release_answer(answer(1), request(1), true, at(31)).await.unwrap(), AnswerEnded::Lost);
    let stage = stage.reopened().await;
    assert_eq!(claim(&stage.store, claim_by(3), 99).await, kept);
    assert_eq!(claim(&stage.store, claim_by(3), 100).await, yours(3), "its time is over");
}

pub(super) async fn a_claim_that_ran_out_is_taken_over_under_its_request(stage: Stage) {
    let store = &stage.store;
    assert_eq!(claim(store, claim_by(1), 0).await, yours(1));
    assert_eq!(claim(store, claim_by(2), 10).await, yours(1));
    assert_eq!(claim(store, claim_by(2), 11).await, yours(1));
    // Who wakes up late has nothing to say any more.
    assert!(!store.hold_answer(answer(1), request(1), at(99)).await.unwrap());
    assert_eq!(store.keep_answer(answer(1), request(1), &sealed("late"), 999).await.unwrap(), AnswerEnded::Lost);
    assert_eq!(store.release_answer(answer(1), request(1), true, at(12)).await.unwrap(), AnswerEnded::Lost);
    assert_eq!(claim(store, claim_by(1), 12).await, Claimed::Running);
    // Nobody knows whether the first was charged: its id stays, though the second was free.
    assert_eq!(store.release_answer(answer(1), request(2), true, at(12)).await.unwrap(), AnswerEnded::Done);
    assert_eq!(claim(store, claim_by(3), 12).await, yours(1));
    assert_eq!(store.keep_answer(answer(1), request(3), &sealed("text"), 999).await.unwrap(), AnswerEnded::Done);
    let kept = Claimed::Kept { request_id: request(1), holder: request(3), sealed: sealed("text") };
    assert_eq!(claim(store, claim_by(4), 13).await, kept);
}

pub(super) async fn a_claim_that_cost_nothing_is_forgotten(stage: Stage) {
    let store = &stage.store;
    assert_eq!(claim(store, claim_by(1), 0).await, yours(1));
    assert_eq!(store.release_answer(answer(1), request(1), true, at(1)).await.unwrap(), AnswerEnded::Done);
    let other_body = ClaimAnswer { fingerprint: Uuid::from_u128(2), ..claim_by(2) };
    assert_eq!(claim(store, other_body, 2).await, yours(2));
    // One of which nobody knows stays, and is nobody's.
    assert_eq!(store.release_answer(answer(1), request(2), false, at(3)).await.unwrap(), AnswerEnded::Done);
    assert_eq!(claim(store, claim_by(3), 3).await, Claimed::OtherBody);
    assert_eq!(claim(store, ClaimAnswer { holder: request(3), ..other_body }, 3).await, yours(2));
    assert_eq!(store.keep_no_answer(answer(1), request(3)).await.unwrap(), AnswerEnded::Done);
    assert_eq!(claim(store, other_body, 4).await, Claimed::NotKept { request_id: request(2) });
}

pub(super) async fn an_account_s_answers_have_so_much_room(stage: Stage) {
    let store = &stage.store;
    let mut made = 0;
    let mut keep = async |account: u128, text: &str| {
        made += 1;
        let account_id = AccountId(Uuid::from_u128(account));
        let mine = ClaimAnswer { answer_id: answer(made), account_id, ..claim_by(made) };
        assert_eq!(claim(store, mine, 0).await, yours(made));
        let ended = store.keep_answer(answer(made), request(made), &sealed(text), 5).await.unwrap();
        (ended, claim(store, mine, 1).await == Claimed::NotKept { request_id: request(made) })
    };
    assert_eq!(keep(1, "123").await, (AnswerEnded::Done, false));
    assert_eq!(keep(1, "123").await, (AnswerEnded::NoRoom, true));
    assert_eq!(keep(1, "12").await, (AnswerEnded::Done, false));
    assert_eq!(keep(1, "1").await, (AnswerEnded::NoRoom, true));
    assert_eq!(keep(2, "12345").await, (AnswerEnded::Done, false), "another account has room of its own");
    assert_eq!(store.sweep_answers(at(KEPT), 99).await.unwrap(), 5);
    assert_eq!(keep(1, "12345").await, (AnswerEnded::Done, false));
}

pub(super) async fn of_concurrent_claims_of_an_answer_exactly_one_wins(stage: Stage) {
    // At first nobody has it; then the winner of the round before has let it run out.
    for round in 0..5_u128 {
        let claims = (1..=16_u128).map(|n| {
            let store = Arc::clone(&stage.store);
            let now = i64::try_from(round).unwrap() * HELD;
            tokio::spawn(async move { claim(&store, claim_by(round * 100 + n), now).await })
        });
        let mut won = Vec::new();
        for claimed in claims.collect::<Vec<_>>() {
            match claimed.await.unwrap() {
                Claimed::Yours { request_id } => won.push(request_id),
                other => assert_eq!(other, Claimed::Running),
            }
        }
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
    }
}

pub(super) async fn answers_are_swept_when_their_time_is_over(stage: Stage) {
    let store = &stage.store;
    for n in 1..=5 {
        let mine = ClaimAnswer { answer_id: answer(n), ..claim_by(n) };
        assert_eq!(claim(store, mine, i64::try_from(n).unwrap()).await, yours(n));
    }
    let count = async || stage.rows("SELECT {id:answer_id} FROM answers ORDER BY answer_id").await.len();
    assert_eq!(store.sweep_answers(at(KEPT), 99).await.unwrap(), 0);
    assert_eq!(store.sweep_answers(at(KEPT + 3), 2).await.unwrap(), 2);
    assert_eq!((store.sweep_answers(at(KEPT + 3), 2).await.unwrap(), count().await), (1, 2));
    assert_eq!(store.sweep_answers(at(i64::MAX), 99).await.unwrap(), 2);
}

/// What one answer is, by the simplest reckoning.
#[derive(Clone)]
struct Naive {
    body: u128,
    request: u128,
    holder: u128,
    /// `None` from its end on.
    held_until: Option<i64>,
    text: Option<String>,
    expires_at: i64,
}

/// Any history of claims, holds and ends is what a naive reckoning makes of it.
pub(super) async fn any_history_of_claims_is_what_a_naive_reckoning_makes_of_it(stage: Stage) {
    let store = &stage.store;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    let mut answers: BTreeMap<u128, Naive> = BTreeMap::new();
    let mut now = 0;
    for step in 0..800_u128 {
        now += i64::try_from(below(8)).unwrap();
        let (id, who, body) = (u128::from(below(3)), u128::from(below(4)) + 1, u128::from(below(5) / 4));
        answers.retain(|_, naive| naive.expires_at > now);
        let known = answers.get(&id).cloned();
        let mine = known.as_ref().is_some_and(|naive| naive.holder == who && naive.held_until.is_some());
        let action = below(5);
        if action > 1 {
            // A claim does not see what is over, swept or not; who ends one late does no harm.
            store.sweep_answers(at(now), 9).await.unwrap();
        }
        match action {
            0 | 1 => {
                let asked = ClaimAnswer { answer_id: answer(id), fingerprint: Uuid::from_u128(body), ..claim_by(who) };
                let expected = match known {
                    None => yours(who),
                    Some(naive) if naive.body != body => Claimed::OtherBody,
                    Some(Naive { held_until: None, text: Some(text), request: of, holder, .. }) => {
                        Claimed::Kept { request_id: request(of), holder: request(holder), sealed: sealed(&text) }
                    }
                    Some(Naive { held_until: None, request: of, .. }) => Claimed::NotKept { request_id: request(of) },
                    Some(naive) if mine || naive.held_until <= Some(now) => yours(naive.request),
                    Some(_) => Claimed::Running,
                };
                assert_eq!(claim(store, asked, now).await, expected, "step {step}");
                if let (Claimed::Yours { request_id }, false) = (expected, mine) {
                    let expires_at = answers.get(&id).map_or(now + KEPT, |naive| naive.expires_at);
                    let (request, held_until) = (request_id.0.as_u128(), Some(now + HELD));
                    let naive = Naive { body, request, holder: who, held_until, text: None, expires_at };
                    answers.insert(id, naive);
                }
            }
            2 => {
                let held = store.hold_answer(answer(id), request(who), at(now + HELD)).await.unwrap();
                assert_eq!(held, mine, "step {step}");
                answers.entry(id).and_modify(|naive| {
                    if mine {
                        naive.held_until = Some(now + HELD);
                    }
                });
            }
            3 => {
                let text = format!("answer {step}");
                let ended = store.keep_answer(answer(id), request(who), &sealed(&text), u64::MAX).await.unwrap();
                assert_eq!(ended, if mine { AnswerEnded::Done } else { AnswerEnded::Lost }, "step {step}");
                answers.entry(id).and_modify(|naive| {
                    if mine {
                        (naive.held_until, naive.text) = (None, Some(text));
                    }
                });
            }
            _ => {
                let ended = store.release_answer(answer(id), request(who), true, at(now)).await.unwrap();
                assert_eq!(ended, if mine { AnswerEnded::Done } else { AnswerEnded::Lost }, "step {step}");
                match known {
                    Some(naive) if mine && naive.request == who => drop(answers.remove(&id)),
                    Some(_) if mine => {
                        answers.entry(id).and_modify(|naive| naive.held_until = Some(now));
                    }
                    _ => {}
                }
            }
        }
        // What is expired is not to be seen, also by who holds it.
    }
}
