use std::{error::Error, fmt};

use plimsoll_core::Refusal;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Error of a [`ChargedBody`](crate::ChargedBody): refused, or the body's own.
///
/// One type for every body, so that a handler can find it behind what its framework made of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChargedBodyError {
    /// What has arrived does not fit in memory; the body has ended.
    Refused(Refusal),
    /// The body failed.
    Inner(BoxError),
}

impl fmt::Display for ChargedBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(
                f,
                "body refused for lack of memory; try again in {} ms",
                refusal.retry_after.as_millis()
            ),
            Self::Inner(_) => f.write_str("the request body failed"),
        }
    }
}

impl Error for ChargedBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Inner(error) => Some(&**error),
        }
    }
}
