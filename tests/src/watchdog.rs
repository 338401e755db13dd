//! Programs that cannot outlive the test process.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::temporary::User;

/// How long the shell may take to start a program.
const START: Duration = Duration::from_secs(30);
/// How often it is looked whether a program has ended.
const PACE: Duration = Duration::from_millis(5);
const GONE: &str = "its watchdog is gone";

/// A signal by the name that `kill` knows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Ends the program at once.
    Kill,
    /// Asks the program to end.
    Terminate,
    /// For `PostgreSQL`: asks it to end without waiting for its clients.
    Interrupt,
    /// For `PostgreSQL`: ends it at once, its children with it.
    Quit,
    /// Makes the program stand still.
    Stop,
    /// Lets it go on.
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// A program under a shell that kills it, and removes its folder, when this process ends or this value is dropped.
///
/// The program writes to the files `stdout` and `stderr` in the folder. It can be started again after it ended.
#[derive(Debug)]
pub(crate) struct Watchdog {
    folder: PathBuf,
    shell: Child,
    /// Dropping it tells the shell to end. Only ever `None` on drop.
    orders: Mutex<Option<ChildStdin>>,
    state: Arc<Changing>,
}

#[derive(Debug, Default)]
struct Changing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// The program's process id, while it runs.
    pid: Option<u32>,
    /// How it ended the last time, as a shell tells it: 128 + the signal's number if by a signal.
    exit: Option<i32>,
    /// The shell is gone, and with it the program.
    ended: bool,
}

impl Changing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, answers: ChildStdout) {
        for line in BufReader::new(answers).lines().map_while(Result::ok) {
            let mut state = self.lock();
            match line.split_once(' ') {
                Some(("started", pid)) => *state = State { pid: pid.parse().ok(), exit: None, ended: false },
                Some(("exited", status)) => *state = State { pid: None, exit: status.parse().ok(), ended: false },
                _ => {}
            }
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

impl Watchdog {
    /// Takes charge of `folder` and of `command`, of which the program, its arguments, its working folder and the
    /// variables that were set on it are used. Does not start it yet.
    ///
    /// # Errors
    ///
    /// The shell cannot be started.
    pub(crate) fn new(command: &Command, folder: TempDir, end: Signal, user: Option<User>) -> Result<Self, String> {
        let mut shell = Command::new("/bin/sh");
        shell
            .args([OsStr::new("-c"), OsStr::new(include_str!("watchdog.sh")), OsStr::new("watchdog")])
            .args([folder.path().as_os_str(), OsStr::new(end.name()), command.get_program()])
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // An interrupt from the keyboard is for the tests; the shell must live to clean up after them.
            .process_group(0);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        // The folder of the tests may be closed to another user, who needs one that he can return to.
        shell.current_dir(command.get_current_dir().unwrap_or(folder.path()));
        if let Some(user) = user {
            user.runs(&mut shell);
        }
        let mut shell = shell.spawn().map_err(|error| format!("/bin/sh cannot be run: {error}"))?;
        let (orders, answers) = (shell.stdin.take(), shell.stdout.take());
        let state = Arc::new(Changing::default());
        if let Some(answers) = answers {
            let state = Arc::clone(&state);
            thread::spawn(move || state.follow(answers));
        }
        Ok(Self { folder: folder.keep(), shell, orders: Mutex::new(orders), state })
    }

    /// Starts the program, which must not be running.
    ///
    /// # Errors
    ///
    /// It is running, or the shell is gone.
    pub(crate) fn start(&self) -> Result<(), String> {
        let mut state = self.state.lock();
        if state.pid.is_some() {
            return Err("it is running already".to_owned());
        }
        state.exit = None;
        drop(state);
        self.order("start")?;
        let (state, _) = self
            .state
            .changed
            .wait_timeout_while(self.state.lock(), START, |state| {
                state.pid.is_none() && state.exit.is_none() && !state.ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.pid.is_some() || state.exit.is_some() { Ok(()) } else { Err(GONE.to_owned()) }
    }

    /// Sends a signal; of no effect when the program does not run.
    ///
    /// # Errors
    ///
    /// The shell is gone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        if self.pid().is_some() { self.order(&format!("signal {}", signal.name())) } else { Ok(()) }
    }

    /// Waits for the program's end and tells its status, 128 + the signal's number if by a signal.
    ///
    /// # Errors
    ///
    /// It does not end within `limit`.
    pub(crate) async fn exit(&self, limit: Duration) -> Result<i32, String> {
        let deadline = Instant::now() + limit;
        loop {
            let state = *self.state.lock();
            if let Some(status) = state.exit {
                return Ok(status);
            } else if state.ended {
                return Err(GONE.to_owned());
            } else if Instant::now() > deadline {
                return Err(format!("it does not end within {limit:?}"));
            }
            sleep(PACE).await;
        }
    }

    /// The program's process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.state.lock().pid
    }

    /// What the program wrote to standard output so far, over all its starts.
    pub(crate) fn stdout(&self) -> String {
        self.text("stdout")
    }

    /// What the program wrote to standard error so far, over all its starts.
    pub(crate) fn stderr(&self) -> String {
        self.text("stderr")
    }

    fn text(&self, name: &str) -> String {
        // The file appears with the first start.
        let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn order(&self, order: &str) -> Result<(), String> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = orders.as_mut().ok_or(GONE)?;
        writeln!(pipe, "{order}").map_err(|error| format!("{GONE}: {error}"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.orders.lock().unwrap_or_else(PoisonError::into_inner).take());
        // It ends as soon as the program is dead; when it cannot be waited for it has ended already.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Signal, Watchdog};
    use crate::temporary;

    const LIMIT: Duration = Duration::from_secs(10);

    fn watchdog(script: &str) -> Watchdog {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env("WORD", "a b");
        let folder = temporary::folder().expect("a folder");
        let watchdog = Watchdog::new(&command, folder, Signal::Kill, None).expect("a watchdog");
        watchdog.start().expect("started");
        watchdog
    }

    #[tokio::test]
    async fn tells_how_a_program_ends_and_starts_it_again() {
        let watchdog = watchdog("echo \"$WORD\"; echo 2 >&2; exit 7");
        assert_eq!(watchdog.exit(LIMIT).await, Ok(7));
        watchdog.start().expect("started again");
        assert_eq!(watchdog.exit(LIMIT).await, Ok(7));
        assert_eq!((watchdog.stdout().as_str(), watchdog.stderr().as_str()), ("a b\na b\n", "2\n2\n"));
    }

    #[tokio::test]
    async fn signals_reach_the_program() {
        let watchdog = watchdog("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done");
        assert!(watchdog.start().is_err(), "it runs already");
        while watchdog.stdout().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        watchdog.signal(Signal::Stop).expect("stopped");
        watchdog.signal(Signal::Terminate).expect("asked");
        assert!(watchdog.exit(Duration::from_millis(100)).await.is_err(), "it stands still");
        watchdog.signal(Signal::Continue).expect("continued");
        assert_eq!(watchdog.exit(LIMIT).await, Ok(3));
        watchdog.start().expect("started again");
        watchdog.signal(Signal::Kill).expect("killed");
        assert_eq!(watchdog.exit(LIMIT).await, Ok(137));
        assert_eq!(watchdog.signal(Signal::Kill), Ok(()));
    }

    #[tokio::test]
    async fn dropped_with_program_and_folder() {
        let watchdog = watchdog("exec sleep 600");
        let (pid, folder) = (watchdog.pid().expect("running"), watchdog.folder.clone());
        let process = std::path::PathBuf::from(format!("/proc/{pid}"));
        assert!(folder.is_dir() && process.exists());
        drop(watchdog);
        assert!(!folder.exists() && !process.exists());
    }
}
