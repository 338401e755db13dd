//! Processes of ours in a test: started, watched, killed and started again.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::or_fail;
use crate::temporary::{self, tail};
use crate::watchdog::{Signal, Watchdog};

/// How long anything may take that is waited for here.
const LIMIT: Duration = Duration::from_mins(1);
/// How often it is looked whether something has happened.
const PACE: Duration = Duration::from_millis(20);

/// A running program. It is killed when this value is dropped, and when the test process ends, however it ends.
///
/// # Panics
///
/// Every method that waits fails the test after a minute, and tells what the program wrote last.
#[derive(Debug)]
pub struct Process {
    name: String,
    watchdog: Watchdog,
}

impl Process {
    /// Starts `command`. Its program, arguments, working folder (else an empty temporary one) and the variables set
    /// on it count; what it says about standard input and output does not.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(command: &Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let folder = or_fail(temporary::folder());
        let watchdog = or_fail(Watchdog::new(command, folder, Signal::Kill, None));
        or_fail(watchdog.start());
        Self { name, watchdog }
    }

    /// Starts the same program again after it ended.
    pub fn start_again(&self) {
        or_fail(self.watchdog.start());
    }

    /// The process id, while the program runs.
    pub fn pid(&self) -> Option<u32> {
        self.watchdog.pid()
    }

    /// What the program wrote to standard output so far, over all its starts.
    pub fn stdout(&self) -> String {
        self.watchdog.stdout()
    }

    /// What the program wrote to standard error so far, over all its starts.
    pub fn stderr(&self) -> String {
        self.watchdog.stderr()
    }

    /// Waits until the program has written a whole line with `text` in it, to standard output or error, and gives the
    /// first such line.
    ///
    /// # Panics
    ///
    /// When the program ends without it, or a minute passes.
    pub async fn line(&self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            // Read before the files are, or the last lines of a program that ends could be missed.
            let running = self.pid().is_some();
            for output in [self.stdout(), self.stderr()] {
                let mut whole = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                if let Some(line) = whole.find(|line| line.contains(text)) {
                    return line.trim_end().to_owned();
                }
            }
            if !running || Instant::now() > deadline {
                or_fail::<()>(Err(self.complaint(&format!("wrote no line with {text:?}"))));
            }
            sleep(PACE).await;
        }
    }

    /// Waits until `GET http://address/path` is answered with status 200.
    ///
    /// # Panics
    ///
    /// When the program ends before that, or a minute passes.
    pub async fn answers(&self, address: &str, path: &str) {
        let deadline = Instant::now() + LIMIT;
        while !answers(address, path).await {
            if self.pid().is_none() || Instant::now() > deadline {
                or_fail::<()>(Err(self.complaint(&format!("does not answer GET http://{address}{path} with 200"))));
            }
            sleep(PACE).await;
        }
    }

    /// Ends the program at once, as `kill -9` does, and waits until it is gone.
    pub async fn kill9(&self) {
        or_fail(self.watchdog.signal(Signal::Kill));
        self.exit().await;
    }

    /// Asks the program to end (SIGTERM), waits until it is gone, and gives its exit status.
    pub async fn terminate(&self) -> i32 {
        or_fail(self.watchdog.signal(Signal::Terminate));
        self.exit().await
    }

    /// Waits until the program is gone, and gives its exit status: 128 + the number of the signal if one ended it.
    pub async fn exit(&self) -> i32 {
        match self.watchdog.exit(LIMIT).await {
            Ok(status) => status,
            Err(reason) => or_fail(Err(self.complaint(&reason))),
        }
    }

    /// Makes the program stand still (SIGSTOP).
    pub fn pause(&self) {
        or_fail(self.watchdog.signal(Signal::Stop));
    }

    /// Lets a paused program go on (SIGCONT).
    pub fn resume(&self) {
        or_fail(self.watchdog.signal(Signal::Continue));
    }

    fn complaint(&self, what: &str) -> String {
        let state = if self.pid().is_some() { "is running" } else { "has ended" };
        let (name, stdout, stderr) = (&self.name, self.stdout(), self.stderr());
        format!("{name} {what}; it {state}.\nstdout: {}\nstderr: {}", tail(&stdout), tail(&stderr))
    }
}

/// Whether `GET http://address/path` is answered with status 200.
pub(crate) async fn answers(address: &str, path: &str) -> bool {
    let get = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.ok()?;
        Some(start == *b"HTTP/1.1 200")
    };
    timeout(Duration::from_secs(5), get).await.ok().flatten().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Process;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(&command)
    }

    #[tokio::test]
    async fn waits_for_lines_and_ends() {
        let process = shell("printf 'listening at '; sleep 0.1; echo 8080; echo oops >&2; exec sleep 600");
        assert_eq!(process.line("listening").await, "listening at 8080");
        assert_eq!(process.line("oops").await, "oops");
        assert_eq!(process.terminate().await, 143);
        process.start_again();
        process.kill9().await;
        assert_eq!(process.exit().await, 137);
        assert_eq!(process.pid(), None);
    }

    #[tokio::test]
    #[should_panic(expected = "sh wrote no line with \"up\"; it has ended.\nstdout: down")]
    async fn fails_when_the_program_ends_without_the_line() {
        shell("echo down").line("up").await;
    }

    #[tokio::test]
    async fn waits_for_an_answer() {
        let address = format!("127.0.0.1:{}", crate::port());
        let listener = std::net::TcpListener::bind(&address).expect("free");
        let server = std::thread::spawn(move || {
            for status in ["503 Not yet", "200 OK"] {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut request = [0; 9];
                std::io::Read::read_exact(&mut stream, &mut request).expect("a request");
                assert_eq!(&request, b"GET /live");
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                std::io::Write::write_all(&mut stream, answer.as_bytes()).expect("answered");
            }
        });
        shell("exec sleep 600").answers(&address, "/live").await;
        server.join().expect("both requests came");
    }
}
