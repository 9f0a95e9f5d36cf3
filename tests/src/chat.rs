use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    ops::Deref,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use plimsoll_testkit::MemoryGroup;

use crate::{Http, eventually, programs, within};

/// How long the server may take until it listens, on a machine that is busy compiling.
const START: Duration = Duration::from_secs(20);

/// A running example server; killed and waited for when dropped.
///
/// It dereferences to the client that talks to it.
#[derive(Debug)]
pub struct Chat {
    child: Child,
    lines: Vec<String>,
    log: Log,
    http: Http,
}

/// What a process wrote so far.
type Log = Arc<Mutex<String>>;

/// The server's command with nothing but `PATH` in its environment, so that the variables of
/// whoever runs the tests change nothing.
pub fn chat_command() -> Command {
    clean(Command::new(&programs().chat))
}

pub(crate) fn clean(mut command: Command) -> Command {
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command
}

impl Chat {
    /// Starts on a free port and waits until it listens.
    ///
    /// # Panics
    /// When it does not, with what it said instead.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut command = chat_command();
        command.args(arguments);
        Self::spawn(command).await
    }

    /// The same with variables in its environment.
    ///
    /// # Panics
    /// As [`Chat::start`].
    pub async fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = chat_command();
        command.args(arguments).envs(variables.iter().copied());
        Self::spawn(command).await
    }

    /// The same in a memory cgroup, from its first instruction on.
    ///
    /// # Panics
    /// As [`Chat::start`].
    pub async fn start_in(group: &MemoryGroup, arguments: &[&str]) -> Self {
        Self::start_with_in(group, arguments, &[]).await
    }

    /// The same with variables in its environment.
    ///
    /// # Panics
    /// As [`Chat::start`].
    pub async fn start_with_in(
        group: &MemoryGroup,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = clean(Command::new("sh"));
        command.envs(variables.iter().copied());
        // The shell joins the group and becomes the server, which keeps its process id.
        command
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(group.members())
            .arg(&programs().chat)
            .args(arguments);
        Self::spawn(command).await
    }

    async fn spawn(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let mut stdout = lines_of(child.stdout.take().expect("piped"));
        let log = log_of(child.stderr.take().expect("piped"));
        let mut started = Starting { child: Some(child) };
        let announced = within(START, "the server's three addresses", async {
            let mut lines = Vec::new();
            while lines.len() < 3 {
                lines.push(stdout.recv().await?);
            }
            Some(lines)
        });
        let Some(lines) = announced.await else {
            let status = started.finish().wait();
            panic!("the server did not start ({status:?}): {}", text(&log));
        };
        let address = lines[0].trim_start_matches("chat:").trim();
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        let http = Http::new(address.parse().unwrap_or_else(|_| panic!("{lines:?}")));
        Self { child: started.finish(), lines, log, http }
    }

    /// The lines that it printed when it started.
    pub fn announced(&self) -> &[String] {
        &self.lines
    }

    /// Its address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.http.address())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the log says `text`: what the server writes is read a moment later.
    ///
    /// # Panics
    /// When it does not within 5 s.
    pub async fn says(&self, text: &str) {
        let said = async || self.log().contains(text).then_some(());
        eventually(Duration::from_secs(5), text, said).await;
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// Asks it to stop, as a service manager does.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn terminate(&self) {
        assert!(signal("TERM", &self.id().to_string()), "the signal can be sent");
    }

    /// Tells whether the process is there still.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it still runs after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        eventually(limit, "the end of the server", async || {
            self.child.try_wait().expect("a child can be waited for")
        })
        .await
    }
}

impl Deref for Chat {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        end(&mut self.child);
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// Ends the process when the test fails before the server is up.
struct Starting {
    child: Option<Child>,
}

impl Starting {
    fn finish(&mut self) -> Child {
        self.child.take().expect("taken once")
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

/// A child that was not waited for keeps its id, so that no other process can be hit.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Sends a signal by the shell, whose `kill` is there on every Unix; the program is not.
pub(crate) fn signal(name: &str, id: &str) -> bool {
    let status = Command::new("sh").args(["-c", r#"kill -"$0" "$1""#, name, id]).status();
    status.is_ok_and(|status| status.success())
}

fn text(log: &Log) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn lines_of(stdout: ChildStdout) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    // Ends with the process, whose output it reads.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more, but the pipe must not fill up.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn log_of(stderr: ChildStderr) -> Log {
    let log = Log::default();
    let filled = Arc::clone(&log);
    thread::spawn(move || {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while stderr.by_ref().read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let mut log = filled.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    log
}
