//! Logs go to standard error; `RUST_LOG` chooses what is logged, and `MODELHUB_LOG=json` how.
//!
//! The lines of requests are written together, a few times a second: a system call for each was a noticeable part of what a
//! request costs. Any other line is written at once, and those that came before it first. A process that is killed may take
//! the lines of its last tenth of a second with it; money is in the spool and the log, never here only.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway::REQUEST_LINES;
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What is logged where nothing is said: everything of note, and of sqlx, which notes every slow statement, only faults.
const DEFAULT: &str = "info,sqlx=warn";
/// For how long a line may wait for others.
const LATER: Duration = Duration::from_millis(100);
/// How much may wait, in bytes.
const MOST: usize = 32 << 10;

/// Starts logging for this process. What waits is written when the result is dropped.
pub(crate) fn start() -> Lines {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = Lines::to(io::stderr());
    let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone());
    if std::env::var("MODELHUB_LOG").is_ok_and(|form| form == "json") {
        registry.with(layer.json()).init();
    } else {
        registry.with(layer.with_ansi(false)).init();
    }
    lines
}

/// Lines on their way out.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when the first line waits.
    begun: Condvar,
}

struct Waiting {
    text: Vec<u8>,
    out: Box<dyn Write + Send>,
}

impl Waiting {
    fn write_out(&mut self) {
        // There is no other place to tell that this one can't be written to.
        let _ = self.out.write_all(&self.text).and_then(|()| self.out.flush());
        self.text.clear();
    }
}

impl Lines {
    fn to(out: impl Write + Send + 'static) -> Self {
        let waiting = Waiting { text: Vec::with_capacity(MOST), out: Box::new(out) };
        let shared = Arc::new(Shared { waiting: Mutex::new(waiting), begun: Condvar::new() });
        let weak = Arc::downgrade(&shared);
        let later = move || {
            while let Some(shared) = weak.upgrade() {
                shared.write_out_later();
            }
        };
        // Without a thread a line waits for the next that is urgent, or for many more.
        let _ = std::thread::Builder::new().name("log lines".to_owned()).spawn(later);
        Self(shared)
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a line, and then for those that come soon after it.
    fn write_out_later(&self) {
        let none = |waiting: &mut Waiting| waiting.text.is_empty();
        let waited = self.begun.wait_timeout_while(self.waiting(), Duration::from_secs(1), none);
        let is_empty = waited.unwrap_or_else(PoisonError::into_inner).0.text.is_empty();
        if !is_empty {
            std::thread::sleep(LATER);
            self.waiting().write_out();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.0.waiting().write_out();
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { shared: &self.0, is_urgent: true }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<'a> {
        Line { shared: &self.0, is_urgent: of.target() != REQUEST_LINES }
    }
}

/// Where one line is written to.
pub(crate) struct Line<'a> {
    shared: &'a Shared,
    is_urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut waiting = self.shared.waiting();
        if self.is_urgent {
            // Written by itself: it is not lost with those before it where they can't be written.
            waiting.write_out();
            waiting.text.extend_from_slice(text);
            waiting.write_out();
            return Ok(text.len());
        }
        let is_first = waiting.text.is_empty();
        waiting.text.extend_from_slice(text);
        if waiting.text.len() >= MOST {
            waiting.write_out();
        } else if is_first {
            self.shared.begun.notify_one();
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Out {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Out {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_urgent_is_written_at_once_after_all_that_came_before() {
        let out = Out::default();
        let lines = Lines::to(out.clone());
        let write = |text: &str, is_urgent| {
            Line { shared: &lines.0, is_urgent }.write_all(text.as_bytes()).unwrap();
        };
        write("request\n", false);
        write("other\n", true);
        assert_eq!(out.text(), "request\nother\n");
        let long = "x".repeat(MOST);
        write(&long, false);
        assert_eq!(out.text().len(), "request\nother\n".len() + MOST);
    }

    #[test]
    fn what_is_not_urgent_is_written_soon_and_at_the_end() {
        let out = Out::default();
        let lines = Lines::to(out.clone());
        Line { shared: &lines.0, is_urgent: false }.write_all(b"soon\n").unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while out.text().is_empty() && Instant::now() < until {
            std::thread::sleep(LATER / 10);
        }
        assert_eq!(out.text(), "soon\n");
        Line { shared: &lines.0, is_urgent: false }.write_all(b"last\n").unwrap();
        drop(lines);
        assert_eq!(out.text(), "soon\nlast\n");
    }
}
