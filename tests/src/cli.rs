use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::process::Command;

use crate::{chat::clean, programs, within};

/// Longer than any call that a test makes takes.
const LIMIT: Duration = Duration::from_secs(60);

/// What a finished call of the command line tool left.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it does not start, does not end, or is ended by a signal.
    pub async fn of(mut command: Command) -> Self {
        let output = within(LIMIT, "the end of the command", command.output()).await;
        let output = output.expect("the command starts");
        Self {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).expect("data is text"),
            stderr: String::from_utf8(output.stderr).expect("talk is text"),
        }
    }

    /// Fails the test unless the call succeeded.
    ///
    /// # Panics
    /// With what the call said instead.
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    /// The data as one JSON document.
    ///
    /// # Panics
    /// When it is not exactly one.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// The tool's command: output to pipes, times in UTC, nothing else in its environment.
pub fn plimsoll_command() -> Command {
    let mut command = Command::from(clean(std::process::Command::new(&programs().plimsoll)));
    command.env("TZ", "UTC").env("LANG", "C.UTF-8");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the tool to its end.
///
/// # Panics
/// As [`Ran::of`].
pub async fn plimsoll(url: &str, arguments: &[&str]) -> Ran {
    let mut command = plimsoll_command();
    command.args(["--url", url]).args(arguments);
    Ran::of(command).await
}
