//! One question at a time about each key: whoever needs the answer while it is asked for takes the same one. Else every request
//! that runs when a key's second is over would ask for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use schemas::event::KeyHash;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{FRESH_FOR, lock};

/// Questions that wait for their answers.
pub(super) struct Questions<A> {
    asked: Mutex<HashMap<KeyHash, Arc<Question<A>>>>,
}

struct Question<A> {
    since: Instant,
    answer: OnceCell<A>,
}

impl<A> Default for Questions<A> {
    fn default() -> Self {
        Self { asked: Mutex::default() }
    }
}

impl<A: Clone> Questions<A> {
    /// The answer about this key: of a question that was asked less than [`FRESH_FOR`] ago and waits, else of `ask`. Where whoever
    /// asks goes away, one of those that wait asks instead.
    pub(super) async fn answer<F: Future<Output = A>>(&self, key: KeyHash, now: Instant, ask: impl FnOnce() -> F) -> A {
        let question = {
            let new = || Arc::new(Question { since: now, answer: OnceCell::new() });
            let mut asked = lock(&self.asked);
            let question = asked.entry(key).or_insert_with(new);
            if now.saturating_duration_since(question.since) >= FRESH_FOR {
                *question = new();
            }
            Arc::clone(question)
        };
        let waiting = Waiting { questions: self, key, question };
        waiting.question.answer.get_or_init(ask).await.clone()
    }
}

/// One that waits. The question is forgotten when it is answered, or nobody waits any more.
struct Waiting<'a, A> {
    questions: &'a Questions<A>,
    key: KeyHash,
    question: Arc<Question<A>>,
}

impl<A> Drop for Waiting<'_, A> {
    fn drop(&mut self) {
        let mut asked = lock(&self.questions.asked);
        let is_current = asked.get(&self.key).is_some_and(|current| Arc::ptr_eq(current, &self.question));
        // The other two are the map's and this one's.
        let is_last = Arc::strong_count(&self.question) <= 2;
        if is_current && (is_last || self.question.answer.initialized()) {
            asked.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::task::{JoinSet, yield_now};
    use tokio::time::{advance, sleep};

    use super::*;

    const KEY: KeyHash = KeyHash([7; 32]);

    /// Questions that each take so long, and the number of each as its answer.
    #[derive(Default)]
    struct Asked {
        questions: Questions<u32>,
        count: AtomicU32,
    }

    impl Asked {
        async fn answer(&self, key: KeyHash, takes_ms: u64) -> u32 {
            let ask = || async {
                let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
                sleep(Duration::from_millis(takes_ms)).await;
                number
            };
            self.questions.answer(key, Instant::now(), ask).await
        }

        fn is_forgotten(&self) -> bool {
            lock(&self.questions.asked).is_empty()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_come_while_it_is_asked_share_an_answer() {
        let asked = Arc::new(Asked::default());
        let mut all = JoinSet::new();
        for _ in 0..32 {
            let asked = Arc::clone(&asked);
            all.spawn(async move { asked.answer(KEY, 10).await });
        }
        let other = asked.answer(KeyHash([8; 32]), 10).await;
        let answers = all.join_all().await;
        assert!(answers.iter().all(|answer| *answer == answers[0] && *answer != other), "{answers:?} {other}");
        assert!(asked.is_forgotten());
        assert_eq!(asked.answer(KEY, 0).await, 3, "what was answered is asked anew");
        assert!(asked.is_forgotten());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_too_late_for_a_question_asks_anew() {
        let asked = Arc::new(Asked::default());
        let slow = Arc::clone(&asked);
        let slow = tokio::spawn(async move { slow.answer(KEY, 60_000).await });
        yield_now().await;
        advance(FRESH_FOR / 2).await;
        let shared = Arc::clone(&asked);
        let shared = tokio::spawn(async move { shared.answer(KEY, 0).await });
        yield_now().await;
        advance(FRESH_FOR / 2).await;
        assert_eq!(asked.answer(KEY, 0).await, 2);
        assert!(asked.is_forgotten());
        assert_eq!((slow.await.unwrap(), shared.await.unwrap()), (1, 1));
        assert!(asked.is_forgotten());
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_leaves_its_question_to_another() {
        let asked = Arc::new(Asked::default());
        let ask = |takes_ms| {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move { asked.answer(KEY, takes_ms).await })
        };
        let (first, second) = (ask(1_000), ask(10));
        sleep(Duration::from_millis(1)).await;
        first.abort();
        assert_eq!(second.await.unwrap(), 2);
        let alone = ask(1_000);
        sleep(Duration::from_millis(1)).await;
        alone.abort();
        assert!(alone.await.unwrap_err().is_cancelled());
        assert!(asked.is_forgotten());
    }
}
