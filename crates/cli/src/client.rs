//! One call to the server: an answer, or a failure that says what went wrong.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{Response, StatusCode},
};

use crate::{
    failure::{Failure, Refusal},
    time::{Stopwatch, latency},
    token::Token,
    url::BaseUrl,
    wire::{Envelope, Problem},
};

/// Largest answer read; the report is a few kilobytes.
const LARGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// Asks one server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: BaseUrl,
    token: Option<Token>,
    /// Longest wait for a question.
    read_timeout: Duration,
    /// Longest wait for work; cleaning up takes longer than looking.
    work_timeout: Duration,
    /// Tells each call on standard error.
    verbose: bool,
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The JSON document as it came.
    pub(crate) document: String,
    /// From the request to the last byte.
    pub(crate) waited: Duration,
    url: String,
}

impl Reply {
    /// Reads the document.
    ///
    /// # Errors
    /// [`Failure::Foreign`] if it is not what a Plimsoll server sends.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<Envelope<T>, Failure> {
        serde_json::from_str(&self.document).map_err(|_| self.foreign())
    }

    /// The failure of an answer that has nothing of what was asked for.
    pub(crate) fn foreign(&self) -> Failure {
        foreign(&self.url, "did not answer as a Plimsoll server does")
    }
}

impl Client {
    /// Waits `timeout` for each answer, else 10 s, and 2 min where the server works.
    pub(crate) fn new(
        base: BaseUrl,
        token: Option<Token>,
        timeout: Option<Duration>,
        verbose: bool,
    ) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy would turn a loopback call into a foreign one, and see the token.
            .proxy(None)
            .user_agent(concat!("plimsoll-cli/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build();
        Self {
            agent: config.new_agent(),
            base,
            token,
            read_timeout: timeout.unwrap_or(Duration::from_secs(10)),
            work_timeout: timeout.unwrap_or(Duration::from_secs(120)),
            verbose,
        }
    }

    /// The server.
    pub(crate) fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// True if calls carry a token.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Asks without changing anything.
    ///
    /// # Errors
    /// Every kind of [`Failure`] that a call can have.
    pub(crate) fn get(&self, route: &str) -> Result<Reply, Failure> {
        self.call(route, None, self.read_timeout, false)
    }

    /// Changes a setting, which is quick.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn change(&self, route: &str, body: &Value) -> Result<Reply, Failure> {
        self.call(route, Some(body), self.read_timeout, true)
    }

    /// Has the server work.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn work(&self, route: &str, body: &Value) -> Result<Reply, Failure> {
        self.call(route, Some(body), self.work_timeout, true)
    }

    /// Opens a stream of events, after the one with the id `last`; it ends after `life` at the
    /// latest.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[cfg(feature = "tui")]
    pub(crate) fn stream(
        &self,
        route: &str,
        last: Option<&str>,
        life: Duration,
    ) -> Result<impl io::BufRead + use<>, Failure> {
        let url = self.base.join(route);
        let mut request = self.agent.get(&url).header("accept", "text/event-stream");
        if let Some(token) = &self.token {
            request = request.header("authorization", token.header());
        }
        // An id that no header can carry is not one of ours.
        if let Some(last) = last.filter(|last| !last.contains(|c: char| c.is_control())) {
            request = request.header("last-event-id", last);
        }
        let wait = self.read_timeout;
        let response = request
            .config()
            .timeout_connect(Some(wait))
            .timeout_recv_response(Some(wait))
            .timeout_recv_body(Some(life))
            .build()
            .call()
            .map_err(|error| self.to_failure(error, wait, false))?;
        let status = response.status();
        let body = response.into_body().into_with_config();
        if !status.is_success() {
            let text = body.limit(LARGEST_ANSWER).lossy_utf8(true).read_to_string();
            return Err(refusal(status, text.unwrap_or_default(), false));
        }
        Ok(io::BufReader::new(body.limit(u64::MAX).reader()))
    }

    fn call(
        &self,
        route: &str,
        body: Option<&Value>,
        timeout: Duration,
        changes: bool,
    ) -> Result<Reply, Failure> {
        let url = self.base.join(route);
        let watch = Stopwatch::start();
        let answer = self.exchange(&url, body, timeout);
        let waited = watch.elapsed();
        if self.verbose {
            self.tell(&url, body, &answer, waited);
        }
        let (status, text) = answer.map_err(|error| self.to_failure(error, timeout, changes))?;
        let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
        if !status.is_success() && !tells_what_it_did(&text) {
            return Err(refusal(status, text, is_json));
        }
        if !is_json {
            return Err(foreign(&url, "did not answer with JSON"));
        }
        Ok(Reply { document: text, waited, url })
    }

    fn exchange(
        &self,
        url: &str,
        body: Option<&Value>,
        timeout: Duration,
    ) -> Result<(StatusCode, String), ureq::Error> {
        let header = self.token.as_ref().map(Token::header);
        let response: Response<Body> = match body {
            None => {
                let mut request = self.agent.get(url);
                if let Some(header) = &header {
                    request = request.header("authorization", header);
                }
                request.config().timeout_global(Some(timeout)).build().call()?
            }
            Some(body) => {
                let mut request = self.agent.post(url).content_type("application/json");
                if let Some(header) = &header {
                    request = request.header("authorization", header);
                }
                request.config().timeout_global(Some(timeout)).build().send(body.to_string())?
            }
        };
        let status = response.status();
        let text = response
            .into_body()
            .into_with_config()
            .limit(LARGEST_ANSWER)
            .lossy_utf8(true)
            .read_to_string()?;
        Ok((status, text))
    }

    fn tell(
        &self,
        url: &str,
        body: Option<&Value>,
        answer: &Result<(StatusCode, String), ureq::Error>,
        waited: Duration,
    ) {
        use std::io::Write as _;
        let method = if body.is_some() { "POST" } else { "GET" };
        let outcome = match answer {
            Ok((status, _)) => status.as_u16().to_string(),
            Err(_) => "no answer".to_owned(),
        };
        // Nobody listening is fine.
        let _ = writeln!(io::stderr().lock(), "{method} {url}: {outcome} in {}", latency(waited));
    }

    fn to_failure(&self, error: ureq::Error, waited: Duration, changes: bool) -> Failure {
        let url = self.base.to_string();
        let reason = match error {
            ureq::Error::Timeout(_) => return Failure::TimedOut { url, waited, changes },
            ureq::Error::Io(error) if error.kind() == ErrorKind::TimedOut => {
                return Failure::TimedOut { url, waited, changes };
            }
            ureq::Error::Io(error) => io_reason(&error),
            ureq::Error::HostNotFound => "host not found".to_owned(),
            ureq::Error::ConnectionFailed => "connection failed".to_owned(),
            ureq::Error::BodyExceedsLimit(_) => {
                return foreign(&url, "answered with more than a report can hold");
            }
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                return foreign(&url, "does not speak HTTP");
            }
            other => return foreign(&url, &format!("cannot be asked: {other}")),
        };
        Failure::Unreachable { url, reason }
    }
}

/// The words that people know, instead of the system's, which differ by system.
fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            "connection reset".to_owned()
        }
        ErrorKind::UnexpectedEof => "connection closed without an answer".to_owned(),
        ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether a failure carries the report of work of which some failed: that is shown like any
/// other report.
fn tells_what_it_did(text: &str) -> bool {
    let problem: Problem = serde_json::from_str(text).unwrap_or_default();
    problem.report.is_some_and(|report| report.failed_of_total().0 > 0)
}

fn foreign(url: &str, what: &str) -> Failure {
    Failure::Foreign { url: url.to_owned(), what: what.to_owned() }
}

fn refusal(status: StatusCode, text: String, is_json: bool) -> Failure {
    let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
    let line = || match status.canonical_reason() {
        Some(reason) => format!("the server answered {} {reason}", status.as_u16()),
        None => format!("the server answered {}", status.as_u16()),
    };
    let failed_actions = problem.data.is_some_and(|data| data.failed_of_total().0 > 0);
    Failure::Answer(Box::new(Refusal {
        status: status.as_u16(),
        detail: [problem.detail, problem.error, problem.title]
            .into_iter()
            .flatten()
            .find(|text| !text.trim().is_empty())
            .unwrap_or_else(line),
        document: is_json.then_some(text),
        failed_actions,
    }))
}
