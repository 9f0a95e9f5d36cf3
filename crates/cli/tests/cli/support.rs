//! A server that answers what the test says, and the command run against it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// One request as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    /// A header by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Method and target in one word, such as `GET /x`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let mut request = Self {
            method: words.next()?.to_owned(),
            target: words.next()?.to_owned(),
            ..Self::default()
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            request.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        request.body = String::from_utf8(body).unwrap();
        Some(request)
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A JSON body under this status.
    Json(u16, String),
    /// These bytes and nothing else.
    Raw(Vec<u8>),
    /// These bytes, and then the connection stays open until the server ends.
    #[cfg_attr(
        not(all(target_os = "linux", feature = "tui")),
        expect(dead_code, reason = "only the full screen reads a stream")
    )]
    Held(Vec<u8>),
    /// Closes the connection.
    Nothing,
    /// Keeps the connection open until the server ends.
    Silence,
}

/// Answers 200 with a JSON document.
pub(crate) fn ok(document: impl Into<String>) -> Answer {
    Answer::Json(200, document.into())
}

/// Answers a problem as the monitoring routes do.
pub(crate) fn problem(status: u16, detail: &str) -> Answer {
    Answer::Json(
        status,
        format!(
            r#"{{"type":"about:blank","title":"Refused","status":{status},"detail":"{detail}","success":false,"error":"{detail}"}}"#
        ),
    )
}

/// A server on a loopback port of its own.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts with answers from a function of the request and of its number, from 0.
    pub(crate) fn start(answer: impl Fn(&Request, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (requests, ended) = (Arc::clone(&requests), Arc::clone(&ended));
            move || {
                let mut open = Vec::new();
                for stream in listener.incoming() {
                    if ended.load(Ordering::Acquire) {
                        break;
                    }
                    let mut stream = stream.unwrap();
                    let Some(request) = Request::read(&stream) else { continue };
                    let number = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(request.clone());
                        requests.len() - 1
                    };
                    let bytes = match answer(&request, number) {
                        Answer::Json(status, body) => {
                            let kind = if status < 400 { "json" } else { "problem+json" };
                            format!(
                                "HTTP/1.1 {status} Canned\r\ncontent-type: application/{kind}\r\n\
                                 content-length: {}\r\nconnection: close\r\n\r\n{body}",
                                body.len()
                            )
                            .into_bytes()
                        }
                        Answer::Raw(bytes) => bytes,
                        Answer::Held(bytes) => {
                            let _ = stream.write_all(&bytes);
                            open.push(stream);
                            continue;
                        }
                        Answer::Nothing => Vec::new(),
                        Answer::Silence => {
                            open.push(stream);
                            continue;
                        }
                    };
                    // A client that has seen enough may be gone.
                    let _ = stream.write_all(&bytes);
                }
            }
        });
        Self { url, requests, ended, thread: Some(thread) }
    }

    /// Starts with one answer to everything.
    pub(crate) fn always(answer: Answer) -> Self {
        Self::start(move |_, _| answer.clone())
    }

    /// What arrived so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The command against this server; its environment holds nothing else.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = plimsoll(arguments);
        command.env("PLIMSOLL_URL", &self.url);
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread out of its wait for a connection.
        drop(TcpStream::connect(self.url.trim_start_matches("http://")));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// What a run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command in an environment that holds a UTF-8 locale and a zone, and nothing else.
pub(crate) fn plimsoll(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).env_clear().env("LANG", "C.UTF-8").env("TZ", "UTC");
    command.stdin(Stdio::null());
    command
}

/// Runs to the end with both outputs in pipes.
pub(crate) fn run(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Ran {
        code: status.code(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// A canned answer of the server.
pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(path(&format!("fixtures/{name}.json"))).unwrap()
}

/// The output that must come out, to the byte.
pub(crate) fn golden(name: &str) -> String {
    std::fs::read_to_string(path(&format!("golden/{name}.txt"))).unwrap()
}

/// A port that refuses connections for as long as this lives.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) url: String,
    /// Its own end of a connection holds the port, so that no server of another test gets it.
    _held: (TcpListener, TcpStream),
}

/// Finds a port that nobody listens on.
pub(crate) fn dead() -> Dead {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let url = format!("http://{}", stream.local_addr().unwrap());
    Dead { url, _held: (listener, stream) }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}
