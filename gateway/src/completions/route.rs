//! Who is asked for an answer, in which order, and when the next one is.
//!
//! The next upstream is asked only while nothing of an answer has begun: a request is never answered twice, and what the
//! client has seen is never taken back. The price is the model's, whoever answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::upstream::{CallError, Sent, Upstream};

/// How long an upstream that could not be connected to rests before it is tried once more.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// An upstream that has the model, and the request as it gets it.
pub(crate) struct Route {
    pub(crate) upstream: Arc<Upstream>,
    /// What it calls the model.
    pub(crate) model: String,
    pub(crate) body: Bytes,
    /// Whether it was sent that.
    pub(crate) sent: Sent,
}

/// The upstreams of one request, best first; never empty.
pub(crate) struct Routes {
    routes: Vec<Route>,
    /// Which one is, or was, asked last.
    current: AtomicUsize,
}

impl Routes {
    pub(crate) fn new(first: Route, fallbacks: Vec<Route>) -> Self {
        let routes = std::iter::once(first).chain(fallbacks).collect();
        Self { routes, current: AtomicUsize::new(0) }
    }

    /// The one that was asked last.
    pub(crate) fn current(&self) -> &Route {
        &self.routes[self.current.load(Ordering::Relaxed)]
    }

    /// Asks one after the other until one answers. `ask` gets the time by which the answer must have begun. Each is asked
    /// once, and the first once more where it could not be connected to. All together have twice the time of the first one.
    pub(crate) async fn ask<'a, T, F: Future<Output = Result<T, CallError>>>(
        &'a self,
        ask: impl Fn(&'a Route, Instant) -> F,
    ) -> Result<T, CallError> {
        let within = self.routes[0].upstream.first_token_timeout().saturating_mul(2);
        let give_up = Instant::now() + within;
        let mut asked = self.count(0, ask(&self.routes[0], give_up).await);
        if matches!(&asked, Err(CallError::Unreachable { connected: false, .. })) {
            self.routes[0].sent.forget();
            sleep(RECONNECT_AFTER).await;
            asked = self.count(0, ask(&self.routes[0], give_up).await);
        }
        for (at, route) in self.routes.iter().enumerate().skip(1) {
            let Err(error) = &asked else { break };
            if !error.may_pass_elsewhere() || Instant::now() >= give_up {
                break;
            }
            let (failed, next) = (self.current().upstream.name(), route.upstream.name());
            tracing::warn!(upstream = failed, %error, next, "the next upstream is asked");
            // An attempt that failed costs nothing, also where the client goes away before the next one.
            self.current().sent.forget();
            self.current.store(at, Ordering::Relaxed);
            asked = self.count(at, ask(route, give_up).await);
        }
        asked
    }

    fn count<T>(&self, at: usize, asked: Result<T, CallError>) -> Result<T, CallError> {
        self.routes[at].upstream.count(&asked);
        asked
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use http::StatusCode;
    use schemas::config::Upstream as UpstreamConfig;

    use super::*;

    fn route(name: &str, first_token_timeout_ms: u64) -> Route {
        let config = UpstreamConfig {
            name: name.to_owned(),
            base_url: "http://127.0.0.1:1/v1".to_owned(),
            api_key_env: None,
            connect_timeout_ms: 1,
            first_token_timeout_ms,
            idle_timeout_ms: 1,
            content_timeout_ms: 1,
        };
        let upstream = Arc::new(Upstream::new(&config, None).unwrap());
        Route { upstream, model: name.to_owned(), body: Bytes::new(), sent: Sent::default() }
    }

    fn status(status: u16) -> CallError {
        CallError::Status {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after_seconds: None,
            body: Bytes::new(),
        }
    }

    /// Asks a, b and c, which fail in these ways until none is left; says who was asked and whether one answered.
    async fn asked(failures: Vec<CallError>) -> (String, bool, String) {
        let routes = Routes::new(route("a", 60_000), vec![route("b", 60_000), route("c", 60_000)]);
        let failures = RefCell::new(failures.into_iter());
        let asked = RefCell::new(String::new());
        let answer = routes
            .ask(|route, _| {
                asked.borrow_mut().push_str(&route.model);
                let failure = failures.borrow_mut().next();
                async move { failure.map_or(Ok(()), Err) }
            })
            .await;
        (asked.into_inner(), answer.is_ok(), routes.current().model.clone())
    }

    #[tokio::test]
    async fn the_next_one_is_asked_until_one_answers() {
        let check = async |failures: Vec<CallError>, who: &str, answers: bool, last: &str| {
            let shown = format!("{failures:?}");
            assert_eq!(asked(failures).await, (who.to_owned(), answers, last.to_owned()), "{shown}");
        };
        let unreachable = |connected| CallError::Unreachable { detail: String::new(), connected };
        check(vec![], "a", true, "a").await;
        check(vec![unreachable(false)], "aa", true, "a").await;
        check(vec![unreachable(false), unreachable(false)], "aab", true, "b").await;
        check(vec![unreachable(true)], "ab", true, "b").await;
        check(vec![status(500), unreachable(false)], "abc", true, "c").await;
        check(vec![status(429), status(503), status(500)], "abc", false, "c").await;
        check(vec![status(401)], "ab", true, "b").await;
        check(vec![CallError::Timeout(Duration::from_secs(1))], "ab", true, "b").await;
        check(vec![CallError::NoAnswer("sent an error".to_owned())], "ab", true, "b").await;
        // The request is at fault, or the answer had begun: no other one is asked.
        check(vec![status(400)], "a", false, "a").await;
        check(vec![status(404)], "a", false, "a").await;
        check(vec![CallError::Stalled(Duration::from_secs(1))], "a", false, "a").await;
        check(vec![CallError::Broken { detail: String::new(), begun: true }], "a", false, "a").await;
        check(vec![CallError::Broken { detail: String::new(), begun: false }], "ab", true, "b").await;
    }

    #[tokio::test]
    async fn all_together_have_twice_the_time_of_the_first() {
        let routes = Routes::new(route("a", 60), vec![route("b", 60), route("c", 60)]);
        let began = Instant::now();
        let asked: RefCell<Vec<String>> = RefCell::default();
        let answer: Result<(), CallError> = routes
            .ask(|route, give_up| {
                asked.borrow_mut().push(route.model.clone());
                async move {
                    let within = give_up - began;
                    assert!(within >= Duration::from_millis(120) && within < Duration::from_mins(1), "{within:?}");
                    sleep(Duration::from_millis(70)).await;
                    Err(CallError::Timeout(Duration::from_millis(60)))
                }
            })
            .await;
        assert!(answer.is_err());
        assert_eq!(*asked.borrow(), ["a", "b"]);
    }
}
