//! What a person has been told already, so that a broken file fills no log.

use std::{error::Error, fmt, path::Path};

/// The figures that can be missing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    Rss,
    Usage,
    InactiveFile,
    Limit,
    Machine,
    Membership,
}

impl Figure {
    fn what(self) -> &'static str {
        match self {
            Self::Rss => "the resident set is not known",
            Self::Usage | Self::InactiveFile => "the working set of the cgroup is not known",
            Self::Limit => "a memory limit of the cgroup is not known",
            Self::Machine => "the machine's memory is not known",
            Self::Membership => "the memory cgroup of this process is not known",
        }
    }
}

/// One bit for each [`Figure`] that a warning was logged for.
#[derive(Debug, Default)]
pub(crate) struct Told(u8);

impl Told {
    /// Warns that `figure` cannot be read from `file`, the first time only.
    pub(crate) fn once(&mut self, figure: Figure, file: &Path, error: &dyn Error) {
        let bit = 1 << figure as u8;
        if self.0 & bit == 0 {
            self.0 |= bit;
            tracing::warn!(file = %file.display(), error = %Chain(error), "{}", figure.what());
        }
    }
}

/// An error with its causes on one line.
struct Chain<'e>(&'e dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
