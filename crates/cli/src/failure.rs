//! Why a command stops, with the fix where there is one.

use std::{io, time::Duration};

use thiserror::Error;

use crate::exit::Exit;

/// One error of the tool; `Display` is the text after `error: `.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The command line, the environment or a file of the caller is wrong.
    #[error("{message}")]
    Usage { message: String, help: String },
    /// The tool refuses before it asks the server, which would refuse as well.
    #[error("{message}")]
    Refused { message: String, help: String },
    /// Nothing answered.
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// Something answered too late.
    #[error("cannot reach {url}: no answer within {}", humantime::format_duration(*.waited))]
    TimedOut { url: String, waited: Duration, changes: bool },
    /// The server answered with anything but success.
    #[error("{}", .0.detail)]
    Answer(Box<Refusal>),
    /// What answered does not speak this protocol.
    #[error("{url} {what}")]
    Foreign { url: String, what: String },
    /// The server did its work and some of it failed.
    #[error("{failed} of {total} actions failed")]
    FailedActions { failed: usize, total: usize },
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

/// An answer of the server that is not a success.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: u16,
    /// What the server says, else its status line.
    pub(crate) detail: String,
    /// The body, if it is a JSON document.
    pub(crate) document: Option<String>,
    /// True if the body carries a report with failed actions.
    pub(crate) failed_actions: bool,
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Refused { .. } => Exit::Refused,
            Self::Unreachable { .. } | Self::TimedOut { .. } => Exit::Unreachable,
            Self::Answer(refusal) => match refusal.status {
                _ if refusal.failed_actions => Exit::FailedActions,
                401 | 403 => Exit::NotAllowed,
                500.. => Exit::Unexpected,
                _ => Exit::Refused,
            },
            Self::FailedActions { .. } => Exit::FailedActions,
            Self::Foreign { .. } | Self::Output(_) => Exit::Unexpected,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> Option<String> {
        let help = match self {
            Self::Usage { help, .. } | Self::Refused { help, .. } => return Some(help.clone()),
            Self::Unreachable { .. } => {
                "start the server or set PLIMSOLL_URL; `plimsoll doctor` checks the rest"
            }
            Self::TimedOut { changes: true, .. } => {
                "the server may still be at work: `plimsoll report` shows the result, `--timeout` waits longer"
            }
            Self::TimedOut { changes: false, .. } => {
                "`--timeout` waits longer; `plimsoll doctor` checks the rest"
            }
            Self::Answer(refusal) => match refusal.status {
                401 | 403 => {
                    "set PLIMSOLL_TOKEN or --token-file to a token that has the scope, or ask without one from the server's own machine"
                }
                300..=399 => "give the address that it points to with --url",
                404 if refusal.detail.starts_with("no alert has") => {
                    "`plimsoll alerts` lists the alerts with their ids"
                }
                404 => "--url takes the address that the monitoring routes are mounted on",
                _ => return None,
            },
            Self::Foreign { .. } => "is another service listening there? --url names the server",
            Self::FailedActions { .. } | Self::Output(_) => return None,
        };
        Some(help.to_owned())
    }

    /// The reason to print and try again, if a later attempt can succeed by itself.
    pub(crate) fn passing(&self) -> Option<String> {
        match self {
            Self::Unreachable { reason, .. } => Some(format!("unreachable ({reason})")),
            Self::TimedOut { waited, .. } => Some(format!(
                "unreachable (no answer within {})",
                humantime::format_duration(*waited)
            )),
            Self::Answer(refusal) if refusal.status >= 500 => {
                Some(format!("failing ({})", refusal.detail))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, failed_actions: bool) -> Failure {
        let detail = "said so".to_owned();
        Failure::Answer(Box::new(Refusal { status, detail, document: None, failed_actions }))
    }

    #[test]
    fn each_status_has_its_exit_code() {
        for (status, exit) in [
            (308, Exit::Refused),
            (400, Exit::Refused),
            (401, Exit::NotAllowed),
            (403, Exit::NotAllowed),
            (404, Exit::Refused),
            (409, Exit::Refused),
            (422, Exit::Refused),
            (500, Exit::Unexpected),
            (503, Exit::Unexpected),
        ] {
            assert_eq!(answer(status, false).exit(), exit, "{status}");
        }
        assert_eq!(answer(500, true).exit(), Exit::FailedActions);
    }

    #[test]
    fn only_what_can_pass_by_itself_is_tried_again() {
        assert_eq!(answer(502, false).passing().as_deref(), Some("failing (said so)"));
        assert!(answer(403, false).passing().is_none());
        let late = Failure::TimedOut {
            url: String::new(),
            waited: Duration::from_secs(10),
            changes: false,
        };
        assert_eq!(late.passing().as_deref(), Some("unreachable (no answer within 10s)"));
    }
}
