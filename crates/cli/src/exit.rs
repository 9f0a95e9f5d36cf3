//! The exit codes that scripts rely on.

use std::process::ExitCode;

use crate::wire::Status;

/// How a command ended; see the crate docs for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Unexpected = 1,
    Usage = 2,
    Unreachable = 3,
    NotAllowed = 4,
    Refused = 5,
    FailedActions = 7,
    Warning = 10,
    Critical = 11,
    Interrupted = 130,
}

impl Exit {
    /// The code as a number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// The code of `report --check`. A status word that this release does not know is unexpected
    /// rather than fine.
    pub(crate) fn of_status(status: &Status) -> Self {
        match status {
            Status::Healthy => Self::Done,
            Status::Warning => Self::Warning,
            Status::Critical => Self::Critical,
            Status::Other(_) | Status::Missing => Self::Unexpected,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
