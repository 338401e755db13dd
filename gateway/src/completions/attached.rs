//! The work on a request, done by whoever waits for its answer while that one is there, and by a task of its own from then on:
//! metering goes on when the client goes away. Most requests need no task, whose making and waking costs as much as some
//! of the work.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Resolves to what `work` answers, which may be before it ends. An error is a work that ended, or panicked, without an answer.
pub(super) struct Attached<A> {
    work: Option<Counted>,
    answer: oneshot::Receiver<A>,
    tasks: TaskTracker,
}

/// Work that counts among the tasks from the beginning: who waits for those waits for it, whoever does it.
struct Counted {
    work: Work,
    _counts: TaskTrackerToken,
}

impl<A> Attached<A> {
    /// `work` is to send its answer to `answer`'s other end. What is left of it when nobody waits any more is one of `tasks`.
    pub(super) fn new(
        work: impl Future<Output = ()> + Send + 'static,
        answer: oneshot::Receiver<A>,
        tasks: TaskTracker,
    ) -> Self {
        // As in a task: a panic ends the work, not the connection.
        let work = AssertUnwindSafe(work).catch_unwind().map(drop);
        let work = Counted { work: Box::pin(work), _counts: tasks.token() };
        Self { work: Some(work), answer, tasks }
    }

    fn detach(&mut self) {
        // Without a runtime the process ends, and with it every task.
        if let Some((counted, runtime)) = self.work.take().zip(Handle::try_current().ok()) {
            self.tasks.spawn_on(counted.work, &runtime);
        }
    }
}

impl<A> Future for Attached<A> {
    type Output = Result<A, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(counted) = &mut self.work
            && counted.work.as_mut().poll(context).is_ready()
        {
            self.work = None;
        }
        let answer = ready!(self.answer.poll_unpin(context));
        self.detach();
        Poll::Ready(answer)
    }
}

impl<A> Drop for Attached<A> {
    fn drop(&mut self) {
        self.detach();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    /// Work that answers after `answers_ms` and ends after `ends_ms`, of which it is waited for `waits_ms`. What was answered,
    /// what was left for a task, and whether the work got to its end.
    async fn check(answers_ms: u64, ends_ms: u64, waits_ms: u64, expected: (Option<u32>, usize)) {
        let (reply, answer) = oneshot::channel();
        let (tasks, ended) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
        let end = Arc::clone(&ended);
        let work = async move {
            sleep(Duration::from_millis(answers_ms)).await;
            let _ = reply.send(7);
            sleep(Duration::from_millis(ends_ms - answers_ms)).await;
            end.store(true, Ordering::SeqCst);
        };
        let attached = Attached::new(work, answer, tasks.clone());
        assert_eq!(tasks.len(), 1, "it is waited for from the beginning");
        let waited = timeout(Duration::from_millis(waits_ms), attached).await;
        assert_eq!((waited.ok().map(Result::unwrap), tasks.len()), expected, "{answers_ms} {ends_ms} {waits_ms}");
        tasks.close();
        tasks.wait().await;
        assert!(ended.load(Ordering::SeqCst), "{answers_ms} {ends_ms} {waits_ms}");
    }

    #[tokio::test(start_paused = true)]
    async fn work_gets_to_its_end_whoever_waits() {
        check(10, 10, 100, (Some(7), 0)).await;
        check(0, 0, 100, (Some(7), 0)).await;
        // A stream: its head is out before it ends.
        check(10, 50, 100, (Some(7), 1)).await;
        // The client goes away.
        check(50, 90, 20, (None, 1)).await;
    }

    #[tokio::test]
    async fn work_that_panics_has_no_answer() {
        let (reply, answer) = oneshot::channel::<u32>();
        let work = async move {
            let _reply = reply;
            std::panic::panic_any("on purpose");
        };
        let tasks = TaskTracker::new();
        assert!(Attached::new(work, answer, tasks.clone()).await.is_err());
        assert!(tasks.is_empty());
    }

    #[tokio::test]
    async fn work_sees_that_nobody_waits() {
        let (mut reply, answer) = oneshot::channel::<u32>();
        let (seen, was_seen) = oneshot::channel();
        let work = async move {
            reply.closed().await;
            let _ = seen.send(());
        };
        drop(Attached::new(work, answer, TaskTracker::new()));
        timeout(Duration::from_secs(10), was_seen).await.unwrap().unwrap();
    }
}
