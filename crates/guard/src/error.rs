use std::{error::Error, fmt};

use plimsoll_core::Refusal;

/// Error of [`AdmissionService`](crate::AdmissionService): refused, or the inner service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdmissionError<E> {
    /// The work was refused for lack of memory and never reached the inner service.
    Refused(Refusal),
    /// The inner service failed.
    Inner(E),
}

impl<E> fmt::Display for AdmissionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(
                f,
                "refused for lack of memory; try again in {} ms",
                refusal.retry_after.as_millis()
            ),
            Self::Inner(_) => f.write_str("the guarded service failed"),
        }
    }
}

impl<E: Error + 'static> Error for AdmissionError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Inner(error) => Some(error),
        }
    }
}
